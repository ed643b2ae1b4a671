"""References that a bundle's graphs are compared with: float64 brute force over tables, or the framework's own scores of pairs."""

from functools import cached_property
from typing import Protocol

import numpy as np

from recoserve.bundle.arrays import Float64Array, Rows
from recoserve_export.graph.dot_score import EmbeddingTable, Formula
from recoserve_export.graph.pair_scorer import PairScorer
from recoserve_export.sampling import MANY_PAIRS, SAMPLED_USERS


class Reference(Protocol):
    """The correct products of a model with `user_count` users and `item_count` items; `formula.scores` makes scores of products.

    `numbers_per_pair` is how many numbers are held in memory to compute one pair's product. `max_ranked_users` says for how many
    users all items may be ranked, if not all users are compared.
    """

    user_count: int
    item_count: int
    numbers_per_pair: int
    max_ranked_users: int
    formula: Formula

    def products(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """The product of every user with every item: [S], [M] -> [S, M]."""

    def products_of(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """The products of the s-th user with the items `item_rows[s]`: [S], [S, K] -> [S, K]."""

    def scales(self, user_rows: Rows) -> Float64Array:
        """The largest product that each user could have with any item, [S, 1]; products are divided by it and then compared."""

    def top(self, user_rows: Rows, k: int) -> tuple[Rows, Float64Array]:
        """The rows of each user's k best items and their products, [S, k] each, best first; equal products by ascending row."""


class TableReference:
    """Float64 brute force over the framework's own tables."""

    def __init__(self, users: EmbeddingTable, items: EmbeddingTable, formula: Formula) -> None:
        self._users, self._items, self.formula = users, items, formula
        self.user_count, self.item_count = users.row_count, items.row_count
        self.numbers_per_pair, self.max_ranked_users = items.width, SAMPLED_USERS

    def products(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """Float64 products of every user with every item: [S], [M] -> [S, M]."""
        return self._vectors(self._users, user_rows) @ self._vectors(self._items, item_rows).T

    def products_of(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """Float64 products of the s-th user with the items `item_rows[s]`: [S], [S, K] -> [S, K]."""
        items = self._vectors(self._items, item_rows.reshape(-1)).reshape(*item_rows.shape, -1)
        return np.asarray(np.einsum("sd,skd->sk", self._vectors(self._users, user_rows), items))

    def scales(self, user_rows: Rows) -> Float64Array:
        """The length of each user's vector times that of the longest item, [S, 1]; 1 where this is 0."""
        lengths = np.linalg.norm(self._vectors(self._users, user_rows), axis=1, keepdims=True) * self._longest_item
        return np.where(lengths > 0, lengths, 1.0)

    @cached_property
    def _longest_item(self) -> float:
        return max(float(np.linalg.norm(self.formula.vectors(rows), axis=1).max()) for _, rows in self._items.blocks())

    def top(self, user_rows: Rows, k: int) -> tuple[Rows, Float64Array]:
        """Rows and products of the k best items, [S, k] each; the table is read once, and only the k best so far stay in memory."""
        queries = self._vectors(self._users, user_rows)
        best_rows, best_products = np.zeros((len(user_rows), 0), np.int64), np.zeros((len(user_rows), 0))
        for start, items in self._items.blocks():
            products = queries @ self.formula.vectors(items).T
            rows = np.broadcast_to(np.arange(start, start + len(items)), products.shape)
            best_rows, best_products = _best(np.hstack([best_rows, rows]), np.hstack([best_products, products]), k)
        return _in_order(best_rows, best_products)

    def _vectors(self, table: EmbeddingTable, rows: Rows) -> Float64Array:
        return self.formula.vectors(np.asarray(table.values[rows]))


class PairReference:
    """The framework's own scores; a user's scores of all items are computed when the first of them is needed, and then cached."""

    formula = Formula(cosine=False)  # products are the scores themselves here
    numbers_per_pair = 1

    def __init__(self, scorer: PairScorer) -> None:
        self._scorer = scorer
        self.user_count, self.item_count = scorer.user_count, scorer.item_count
        self.max_ranked_users = min(max(2, MANY_PAIRS // scorer.item_count), SAMPLED_USERS)
        self._scores_by_user: dict[int, Float64Array] = {}

    def products(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """Float64 products of every user with every item: [S], [M] -> [S, M]."""
        return np.stack([self._scores(user)[item_rows] for user in user_rows.tolist()])

    def products_of(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """Float64 products of the s-th user with the items `item_rows[s]`: [S], [S, K] -> [S, K]."""
        return np.stack([self._scores(user)[items] for user, items in zip(user_rows.tolist(), item_rows, strict=True)])

    def scales(self, user_rows: Rows) -> Float64Array:
        """1 for each user, [S, 1]: nothing is known of the largest score of a model of any architecture."""
        return np.ones((len(user_rows), 1))

    def top(self, user_rows: Rows, k: int) -> tuple[Rows, Float64Array]:
        """The rows and scores of the k best items, [S, k] each."""
        scores = self.products(user_rows, np.arange(self.item_count))
        return _in_order(*_best(np.broadcast_to(np.arange(self.item_count), scores.shape), scores, k))

    def _scores(self, user_row: int) -> Float64Array:
        if user_row not in self._scores_by_user:
            self._scores_by_user[user_row] = self._scorer.scores(np.full(self.item_count, user_row), np.arange(self.item_count))
        return self._scores_by_user[user_row]


def _best(rows: Rows, products: Float64Array, k: int) -> tuple[Rows, Float64Array]:
    """The rows and products of the k largest products of each user, in any order."""
    if rows.shape[1] <= k:
        return rows, products
    best = np.argpartition(-products, k - 1, axis=1)[:, :k]
    return np.take_along_axis(rows, best, 1), np.take_along_axis(products, best, 1)


def _in_order(rows: Rows, products: Float64Array) -> tuple[Rows, Float64Array]:
    order = np.lexsort((rows, -products))
    return np.take_along_axis(rows, order, 1), np.take_along_axis(products, order, 1)
