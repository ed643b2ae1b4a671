"""What requests say, in external ids; whoever reads them gives objects of these forms. `model` None is the default model."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from recoserve.bundle.vocabulary import ExternalId

REASONS = 5  # that an explanation of an item of a list may have


class Wanted(Protocol):
    """Anything that a model is asked."""

    @property
    def model(self) -> str | None: ...


class Choice(Wanted, Protocol):
    """Which items may be in an answer, and how many; `conditions` is column -> operator -> value or list."""

    @property
    def k(self) -> int: ...
    @property
    def exclude_item_ids(self) -> Sequence[ExternalId]: ...
    @property
    def candidate_item_ids(self) -> Sequence[ExternalId] | None: ...
    @property
    def conditions(self) -> Mapping[str, Mapping[str, Any]]: ...


class Options(Choice, Protocol):
    """What every way of recommending takes."""

    @property
    def exclude_seen(self) -> bool: ...
    @property
    def diversity(self) -> float: ...
    @property
    def include(self) -> Sequence[str]: ...


class WithFallback(Options, Protocol):
    """Options where a user may be unknown."""

    @property
    def fallback(self) -> str | None: ...


class OfUser(WithFallback, Protocol):
    """One user's items."""

    @property
    def user_id(self) -> ExternalId: ...


class OfUsers(WithFallback, Protocol):
    """Many users' items."""

    @property
    def user_ids(self) -> Sequence[ExternalId]: ...
    @property
    def strict(self) -> bool: ...


class OfHistory(Options, Protocol):
    """The items of somebody without a row; either `item_ids` or `vector` is given."""

    @property
    def item_ids(self) -> Sequence[ExternalId] | None: ...
    @property
    def negative_item_ids(self) -> Sequence[ExternalId]: ...
    @property
    def weights(self) -> Sequence[float] | None: ...
    @property
    def vector(self) -> Sequence[float] | None: ...


class NearItem(Choice, Protocol):
    """The items near one of them."""

    @property
    def item_id(self) -> ExternalId: ...


class NearUser(Wanted, Protocol):
    """The users near one of them."""

    @property
    def user_id(self) -> ExternalId: ...
    @property
    def k(self) -> int: ...


class Scoring(Wanted, Protocol):
    """A user's scores of some items."""

    @property
    def user_id(self) -> ExternalId: ...
    @property
    def item_ids(self) -> Sequence[ExternalId]: ...


class Explaining(NearUser, Protocol):
    """Which `k` of a user's own items carry the score of another."""

    @property
    def item_id(self) -> ExternalId: ...
