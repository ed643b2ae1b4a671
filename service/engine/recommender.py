"""The one border between ids and rows. Ids stay outside it, rows inside; each request takes its model once."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.bundle.vocabulary import ExternalId, Vocabulary
from service.engine.batcher import Batcher, Done
from service.engine.model import Model
from service.engine.query import NO_ROWS, Query, Ranked
from service.engine.slot import Slot
from service.errors import AnswerError, FieldError, IdOutOfRange, InvalidRequest, UnknownId

T = TypeVar("T")


class Wanted(Protocol):
    """One user's request in external ids; `model` is a name, or None for the default model."""

    @property
    def model(self) -> str | None: ...
    @property
    def user_id(self) -> ExternalId: ...
    @property
    def k(self) -> int: ...
    @property
    def exclude_item_ids(self) -> Sequence[ExternalId]: ...
    @property
    def exclude_seen(self) -> bool: ...
    @property
    def candidate_item_ids(self) -> Sequence[ExternalId] | None: ...


class Recommendation(NamedTuple):
    """One answer in external ids, best first, and the model that gave it."""

    item_ids: list[ExternalId]
    scores: NDArray[np.float32]
    item_rows: NDArray[np.int64]
    model: Model

    def metadata(self) -> list[dict[str, Any]]:
        """The items' metadata, place by place; empty objects where the bundle has none."""
        catalogue = self.model.bundle.catalogue
        return [catalogue.metadata(int(row)) if catalogue else {} for row in self.item_rows]


class Recommender:
    """Answers requests with the models that the slot holds, in the batcher's turn."""

    def __init__(self, slot: Slot, batcher: Batcher) -> None:
        self.slot = slot
        self._batcher = batcher

    def recommend(self, wanted: Wanted, deadline: float, finish: Callable[[Recommendation], T]) -> Awaitable[Done[T]]:
        """What `finish` makes of one user's top-k, in the inference thread; `deadline` is on the clock of `time.monotonic`.

        Raises NotReady, UnknownModel, InvalidRequest, IdOutOfRange, UnknownId, Overloaded, DeadlineExceeded.
        """
        model = self.slot.current(wanted.model)
        query = to_query(model, wanted)
        return self._batcher.run(model, [query], lambda ranked: finish(to_answer(model, ranked[0])), deadline)


def recommend_now(model: Model, wanted: Wanted) -> Recommendation:
    """The same answer without a queue, for the command line."""
    return to_answer(model, model.rank([to_query(model, wanted)])[0])


def to_query(model: Model, wanted: Wanted) -> Query:
    """Ids to rows; raises InvalidRequest, IdOutOfRange or UnknownId with each field at fault."""
    bundle = model.bundle
    user_row = bundle.users.find(wanted.user_id)
    if user_row is None:
        raise _fault(bundle.users, [wanted.user_id], [0], "user_id", alone=True)
    excluded = _rows(bundle.items, wanted.exclude_item_ids, "exclude_item_ids")
    if wanted.exclude_seen and bundle.seen:
        excluded = np.union1d(excluded, bundle.seen.of(user_row))
    if wanted.candidate_item_ids is None:
        return Query(user_row, wanted.k, excluded)
    return Query(user_row, wanted.k, excluded, _rows(bundle.items, wanted.candidate_item_ids, "candidate_item_ids"))


def to_answer(model: Model, ranked: Ranked) -> Recommendation:
    """Rows to ids."""
    return Recommendation(model.bundle.items.external(ranked.item_rows.tolist()), ranked.scores, ranked.item_rows, model)


def _rows(vocabulary: Vocabulary, ids: Sequence[ExternalId], field: str) -> NDArray[np.int64]:
    """The distinct rows of a list of ids, ascending; each id at fault is told by its index."""
    if not ids:
        return NO_ROWS
    rows = [vocabulary.find(external) for external in ids]
    bad = [place for place, row in enumerate(rows) if row is None]
    if bad:
        raise _fault(vocabulary, ids, bad, field)
    return np.unique(np.array(rows, np.int64))


def _fault(vocabulary: Vocabulary, ids: Sequence[ExternalId], bad: Sequence[int], field: str, alone: bool = False) -> AnswerError:
    """The fault of a lone id is told by its field, that of a list's by field and index."""
    kind: type[AnswerError]
    strangers = [place for place in bad if not isinstance(ids[place], vocabulary.id_type)]
    bounds, noun = vocabulary.bounds(), "an integer" if vocabulary.id_type is int else "a string"
    if strangers:
        kind, rule, bad = InvalidRequest, f"must be {noun}, as this model's ids are", strangers
    elif vocabulary.kind == "row" and bounds:
        kind, rule = IdOutOfRange, f"must be in [{bounds[0]}, {bounds[1]}]"
    else:
        known = f"; they run from {bounds[0]} to {bounds[1]}" if bounds else ""
        kind, rule = UnknownId, f"is not an id that this model knows{known}"
    fields = (FieldError((field,) if alone else (field, place), rule) for place in bad)
    return kind(f"{field} {rule}" if alone else f"{field}: {len(bad)} of {len(ids)}: each {rule}", fields)
