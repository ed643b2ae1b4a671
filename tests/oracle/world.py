"""One model as the oracle knows it: the framework's own numbers in float64, and all that went into its bundle beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Id = int | str
Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]
Scores = NDArray[np.float64]

MAX_K = 9_750  # of the services that are asked; above MovieLens' catalogue
MAX_LIST_IDS = 10_000
ROOM = 2e-6  # what float32 may be off, of vectors of length 1


def unit(rows: Scores) -> Scores:
    """Each row at length 1; a row of zeros as it is."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    found: Scores = rows / np.where(lengths == 0, 1, lengths)
    return found


@dataclass(frozen=True)
class Tables:
    """Two tables, float64 [U, d] and [N, d], whose score is their dot product or their cosine.

    `order_known` tells that the bundle has the same columns in the same order, so that a query's vector can be given.
    """

    users: Scores
    items: Scores
    cosine: bool
    order_known: bool = True

    @cached_property
    def unit_users(self) -> Scores:
        return unit(self.users)

    @cached_property
    def unit_items(self) -> Scores:
        return unit(self.items)

    def scores(self, query: Scores) -> Scores:
        """A query's score of every item, [d] -> [N]."""
        found: Scores = self.unit_items @ unit(query) if self.cosine else self.items @ query
        return found

    def room(self, query: Scores) -> float:
        """What the float32 score of this query may be off, beside its relative error."""
        reach = 1.0 if self.cosine else float(np.linalg.norm(query) * np.linalg.norm(self.items, axis=1).max())
        return ROOM * reach


@dataclass(frozen=True)
class World:
    """A served model. `tables`, or `forward`: a user's row -> float64 [N] by the framework; ids are integers, strings or rows."""

    name: str
    id_kind: str
    user_ids: Sequence[Id]
    item_ids: Sequence[Id]
    metadata: Sequence[Mapping[str, Any]] | None
    seen: Sequence[Rows]  # of each user, ascending
    tables: Tables | None = None
    forward: Callable[[int], Scores] | None = None

    @cached_property
    def user_row(self) -> Mapping[Id, int]:
        return {external: row for row, external in enumerate(self.user_ids)}

    @cached_property
    def item_row(self) -> Mapping[Id, int]:
        return {external: row for row, external in enumerate(self.item_ids)}

    @cached_property
    def popularity(self) -> Scores:
        """Interactions of each item, [N]."""
        return np.bincount(np.concatenate([*self.seen, np.empty(0, np.int64)]), minlength=len(self.item_ids)).astype(np.float64)

    def scores(self, user: int) -> Scores:
        """A known user's score of every item, [N]."""
        if self.tables is not None:
            return self.tables.scores(self.tables.users[user])
        assert self.forward is not None
        return self.forward(user)

    def room(self, user: int) -> float:
        """What a float32 score of this user may be off."""
        return self.tables.room(self.tables.users[user]) if self.tables is not None else ROOM

    @cached_property
    def values(self) -> Mapping[str, list[list[Any]]]:
        """Each column: the list of values that every item has there; none for null and for a gap."""
        names = sorted({name for item in self.metadata or () for name in item})
        return {name: [_listed(item.get(name)) for item in self.metadata or ()] for name in names}

    @cached_property
    def types(self) -> Mapping[str, str]:
        """Each column that can be filtered: string, number or boolean; a column with values of several types can't."""
        found = {name: {kind_of(value) for values in column for value in values} for name, column in self.values.items()}
        return {name: kinds.pop() for name, kinds in found.items() if len(kinds) == 1}


def kind_of(value: Any) -> str:
    """The type of a metadata value, and of a value in a filter."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "other"


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
