"""A served model as the oracle knows it: the framework's own numbers in float64, and what went into its bundle beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from recoserve.bundle.arrays import Float64Array, Rows

Id = int | str

MAX_K = 9_750  # the setting of the services under test; more than the items of MovieLens
MAX_LIST_IDS = 10_000
ERROR = 2e-6  # of a float32 score, for vectors of length 1


def unit(vectors: Float64Array) -> Float64Array:
    """The vectors scaled to length 1; a vector of zeros stays as it is."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Float64Array = vectors / np.where(lengths == 0, 1, lengths)
    return scaled


@dataclass(frozen=True)
class EmbeddingTables:
    """Two tables, float64 [U, d] and [N, d], whose score is their dot product or their cosine.

    `same_columns`: the bundle has the same columns in the same order, so that a request may hold a vector.
    """

    users: Float64Array
    items: Float64Array
    cosine: bool
    same_columns: bool = True

    @cached_property
    def unit_users(self) -> Float64Array:
        return unit(self.users)

    @cached_property
    def unit_items(self) -> Float64Array:
        return unit(self.items)

    def scores(self, query: Float64Array) -> Float64Array:
        """A query's score of every item, [d] -> [N]."""
        scores: Float64Array = self.unit_items @ unit(query) if self.cosine else self.items @ query
        return scores

    def error(self, query: Float64Array) -> float:
        """The largest error of a float32 score of this query, beside a relative one."""
        longest = 1.0 if self.cosine else float(np.linalg.norm(query) * np.linalg.norm(self.items, axis=1).max())
        return ERROR * longest


@dataclass(frozen=True)
class World:
    """A served model with either `tables` or `forward`, which gives the framework's scores, float64 [N], of a user's row.

    `id_kind` is integer, string or row.
    """

    name: str
    id_kind: str
    user_ids: Sequence[Id]
    item_ids: Sequence[Id]
    metadata: Sequence[Mapping[str, Any]] | None
    seen: Sequence[Rows]  # of each user, ascending
    tables: EmbeddingTables | None = None
    forward: Callable[[int], Float64Array] | None = None

    @cached_property
    def user_row(self) -> Mapping[Id, int]:
        return {external: row for row, external in enumerate(self.user_ids)}

    @cached_property
    def item_row(self) -> Mapping[Id, int]:
        return {external: row for row, external in enumerate(self.item_ids)}

    @cached_property
    def popularity(self) -> Float64Array:
        """Interactions of each item, [N]."""
        return np.bincount(np.concatenate([*self.seen, np.empty(0, np.int64)]), minlength=len(self.item_ids)).astype(np.float64)

    def scores(self, user: int) -> Float64Array:
        """A known user's score of every item, [N]."""
        if self.tables is not None:
            return self.tables.scores(self.tables.users[user])
        assert self.forward is not None
        return self.forward(user)

    def error(self, user: int) -> float:
        """The largest error of a float32 score of this user."""
        return self.tables.error(self.tables.users[user]) if self.tables is not None else ERROR

    @cached_property
    def values(self) -> Mapping[str, list[list[Any]]]:
        """Column -> for each item the list of its values there, empty for null and where it has none."""
        names = sorted({name for item in self.metadata or () for name in item})
        return {name: [_as_list(item.get(name)) for item in self.metadata or ()] for name in names}

    @cached_property
    def types(self) -> Mapping[str, str]:
        """Column -> string, number or boolean; a column with values of several types is not in it, as no filter may name it."""
        kinds_of = {name: {kind_of(value) for values in column for value in values} for name, column in self.values.items()}
        return {name: kinds.pop() for name, kinds in kinds_of.items() if len(kinds) == 1}


def kind_of(value: Any) -> str:
    """The type of a metadata value, and of a value in a filter."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "other"


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
