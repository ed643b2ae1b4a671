"""What a bundle's graphs are compared with: float64 brute force over tables, or the framework's own scores of every pair."""

from functools import cached_property
from typing import Protocol

import numpy as np

from recoserve.bundle.arrays import Float64Array, Rows
from recoserve_export.graph.dot_score import EmbeddingTable, Formula
from recoserve_export.graph.pair_scorer import PairScorer
from recoserve_export.sampling import MANY_PAIRS, USERS


class Reference(Protocol):
    """The right products of a model with `users` and `items` rows; `formula.scores` makes the scores of them.

    `numbers_per_pair` is how many numbers one pair's product takes to compute, and `most_users` for how many users the whole
    catalogue may be scored, where not all users are compared.
    """

    users: int
    items: int
    numbers_per_pair: int
    most_users: int
    formula: Formula

    def products(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """The product of every user with every item: [S], [M] -> [S, M]."""

    def products_of(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """The products of each user with items of its own: [S], [S, K] -> [S, K]."""

    def scales(self, user_rows: Rows) -> Float64Array:
        """The largest product that each user could have with any item, [S, 1]: a tolerance is a share of it."""

    def top(self, user_rows: Rows, k: int) -> tuple[Rows, Float64Array]:
        """The k best items of each user and their products, [S, k] each, best first, the lower row first among equals."""


class TableReference:
    """Float64 brute force over the framework's own tables."""

    def __init__(self, users: EmbeddingTable, items: EmbeddingTable, formula: Formula) -> None:
        self._users, self._items, self.formula = users, items, formula
        self.users, self.items, self.numbers_per_pair, self.most_users = users.row_count, items.row_count, items.width, USERS

    def products(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """[S], [M] -> [S, M]."""
        return self._vectors(self._users, user_rows) @ self._vectors(self._items, item_rows).T

    def products_of(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """[S], [S, K] -> [S, K]."""
        items = self._vectors(self._items, item_rows.reshape(-1)).reshape(*item_rows.shape, -1)
        return np.asarray(np.einsum("sd,skd->sk", self._vectors(self._users, user_rows), items))

    def scales(self, user_rows: Rows) -> Float64Array:
        """The length of each user's vector times the longest item's, [S, 1]; 1 where it is zero."""
        lengths = np.linalg.norm(self._vectors(self._users, user_rows), axis=1, keepdims=True) * self._longest_item
        return np.where(lengths > 0, lengths, 1.0)

    @cached_property
    def _longest_item(self) -> float:
        return max(float(np.linalg.norm(self.formula.vectors(rows), axis=1).max()) for _, rows in self._items.blocks())

    def top(self, user_rows: Rows, k: int) -> tuple[Rows, Float64Array]:
        """Rows and products, [S, k] each; the table is read once, and only the k best so far stay in memory."""
        queries = self._vectors(self._users, user_rows)
        best_rows, best = np.zeros((len(user_rows), 0), np.int64), np.zeros((len(user_rows), 0))
        for start, items in self._items.blocks():
            products = queries @ self.formula.vectors(items).T
            rows = np.broadcast_to(np.arange(start, start + len(items)), products.shape)
            best_rows, best = _best(np.hstack([best_rows, rows]), np.hstack([best, products]), k)
        return _in_order(best_rows, best)

    def _vectors(self, table: EmbeddingTable, rows: Rows) -> Float64Array:
        return self.formula.vectors(np.asarray(table.values[rows]))


class PairReference:
    """The framework's own scores; those of one user with all items are computed once, when the first of them is needed."""

    formula = Formula(cosine=False)
    numbers_per_pair = 1

    def __init__(self, scorer: PairScorer) -> None:
        self._scorer = scorer
        self.users, self.items = scorer.user_count, scorer.item_count
        self.most_users = min(max(2, MANY_PAIRS // scorer.item_count), USERS)
        self._scores_by_user: dict[int, Float64Array] = {}

    def products(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """[S], [M] -> [S, M]."""
        return np.stack([self._scores(user)[item_rows] for user in user_rows.tolist()])

    def products_of(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """[S], [S, K] -> [S, K]."""
        return np.stack([self._scores(user)[items] for user, items in zip(user_rows.tolist(), item_rows, strict=True)])

    def scales(self, user_rows: Rows) -> Float64Array:
        """1 for each user, [S, 1], for a score of any shape has no known largest value."""
        return np.ones((len(user_rows), 1))

    def top(self, user_rows: Rows, k: int) -> tuple[Rows, Float64Array]:
        """Rows and scores, [S, k] each."""
        scores = self.products(user_rows, np.arange(self.items))
        return _in_order(*_best(np.broadcast_to(np.arange(self.items), scores.shape), scores, k))

    def _scores(self, user_row: int) -> Float64Array:
        if user_row not in self._scores_by_user:
            self._scores_by_user[user_row] = self._scorer.scores(np.full(self.items, user_row), np.arange(self.items))
        return self._scores_by_user[user_row]


def _best(rows: Rows, products: Float64Array, k: int) -> tuple[Rows, Float64Array]:
    if rows.shape[1] <= k:
        return rows, products
    keep = np.argpartition(-products, k - 1, axis=1)[:, :k]
    return np.take_along_axis(rows, keep, 1), np.take_along_axis(products, keep, 1)


def _in_order(rows: Rows, products: Float64Array) -> tuple[Rows, Float64Array]:
    order = np.lexsort((rows, -products))
    return np.take_along_axis(rows, order, 1), np.take_along_axis(products, order, 1)
