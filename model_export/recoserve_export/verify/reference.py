"""What a bundle's answers are held against: float64 brute force over tables, or the framework's own scores of every pair."""

from functools import cached_property
from typing import Protocol

import numpy as np

from recoserve.bundle.arrays import Float64Array, Rows
from recoserve_export.graph.dot_score import Formula, Table
from recoserve_export.graph.pair_scorer import Pairs
from recoserve_export.sampling import MANY_PAIRS, USERS


class Reference(Protocol):
    """The truth about a model with `users` and `items` rows.

    `width` is the work of one pair, in numbers; `sample` how many users it can be asked for the whole catalogue's scores of.

    Ranks are judged by products, in front of the tail: where a sigmoid saturates every item would tie with every other.
    """

    users: int
    items: int
    width: int
    sample: int
    formula: Formula

    def products(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """Every user with every item, before `formula.finish`: [S], [M] -> [S, M]."""

    def paired(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """Each user with items of its own: [S], [S, K] -> [S, K]."""

    def reach(self, user_rows: Rows) -> Float64Array:
        """What a tolerance is a share of: the largest product that each user could have with any item, [S, 1]."""

    def top(self, user_rows: Rows, k: int) -> tuple[Rows, Float64Array]:
        """The k best items of each user and their products, best first, the lower row first among equals."""


class TableReference:
    """Float64 brute force over the framework's own tables."""

    def __init__(self, users: Table, items: Table, formula: Formula) -> None:
        self._users, self._items, self.formula = users, items, formula
        self.users, self.items, self.width, self.sample = users.rows, items.rows, items.width, USERS

    def products(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """[S], [M] -> [S, M]."""
        return self._of(self._users, user_rows) @ self._of(self._items, item_rows).T

    def paired(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """[S], [S, K] -> [S, K]."""
        items = self._of(self._items, item_rows.reshape(-1)).reshape(*item_rows.shape, -1)
        return np.asarray(np.einsum("sd,skd->sk", self._of(self._users, user_rows), items))

    def reach(self, user_rows: Rows) -> Float64Array:
        """The length of each user's vector times the longest item's, [S, 1]; 1 where it is zero."""
        lengths = np.linalg.norm(self._of(self._users, user_rows), axis=1, keepdims=True) * self._longest
        return np.where(lengths > 0, lengths, 1.0)

    @cached_property
    def _longest(self) -> float:
        return max(float(np.linalg.norm(self.formula.vectors(block), axis=1).max()) for _, block in self._items.blocks())

    def top(self, user_rows: Rows, k: int) -> tuple[Rows, Float64Array]:
        """Rows and products, [S, k] each."""
        queries = self._of(self._users, user_rows)
        rows, products = np.zeros((len(user_rows), 0), np.int64), np.zeros((len(user_rows), 0))
        for at, block in self._items.blocks():
            found = queries @ self.formula.vectors(block).T
            here = np.broadcast_to(np.arange(at, at + len(block)), found.shape)
            rows, products = _best(np.hstack([rows, here]), np.hstack([products, found]), k)
        return _in_order(rows, products)

    def _of(self, table: Table, rows: Rows) -> Float64Array:
        return self.formula.vectors(np.asarray(table.values[rows]))


class PairReference:
    """The framework's own forward, for every pair asked about; a user's scores over the catalogue are computed once."""

    formula = Formula(cosine=False)
    width = 1

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self.users, self.items = pairs.users, pairs.items
        self.sample = min(max(2, MANY_PAIRS // pairs.items), USERS)
        self._known: dict[int, Float64Array] = {}

    def products(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """[S], [M] -> [S, M]."""
        return np.stack([self._of(row)[item_rows] for row in user_rows.tolist()])

    def paired(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """[S], [S, K] -> [S, K]."""
        return np.stack([self._of(row)[items] for row, items in zip(user_rows.tolist(), item_rows, strict=True)])

    def reach(self, user_rows: Rows) -> Float64Array:
        """1: a model's score has no scale of its own, [S, 1]."""
        return np.ones((len(user_rows), 1))

    def top(self, user_rows: Rows, k: int) -> tuple[Rows, Float64Array]:
        """Rows and scores, [S, k] each."""
        scores = self.products(user_rows, np.arange(self.items))
        return _in_order(*_best(np.broadcast_to(np.arange(self.items), scores.shape), scores, k))

    def _of(self, user_row: int) -> Float64Array:
        if user_row not in self._known:
            self._known[user_row] = self._pairs.scores(np.full(self.items, user_row), np.arange(self.items))
        return self._known[user_row]


def _best(rows: Rows, products: Float64Array, k: int) -> tuple[Rows, Float64Array]:
    if rows.shape[1] <= k:
        return rows, products
    keep = np.argpartition(-products, k - 1, axis=1)[:, :k]
    return np.take_along_axis(rows, keep, 1), np.take_along_axis(products, keep, 1)


def _in_order(rows: Rows, products: Float64Array) -> tuple[Rows, Float64Array]:
    order = np.lexsort((rows, -products))
    return np.take_along_axis(rows, order, 1), np.take_along_axis(products, order, 1)
