"""The k best of the whole catalogue by the compiled kernel: the same proof as `bounded_search.BoundedSearch`, in one call.

Items are scored in float32 in the order of their bounds, until no other can be one of the k. What may not be in an answer never
counts toward the k.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from recoserve.bundle import contract
from recoserve.bundle.arrays import Float32Array
from recoserve.search.bounded_search import FULL_SCAN, FULL_SCAN_SHARE, PROVED, WIDENED
from recoserve.search.kernel.index import Index
from recoserve.search.query import Query, Ranking
from recoserve.search.session import Session

WHOLE = 16  # the runtime takes what is left behind whole vectors another way, which may round otherwise
FEW_ITEMS, PER_WANTED = 512, 16  # scored for an answer that asked for no more than the usual


class KernelSearch:
    """Ranks queries through a `catalogue`; `users` float32 [U, d] has their vectors, `finish` the tail of a score that has one."""

    def __init__(self, index: Index, users: Float32Array, items: int, finish: Session | None = None) -> None:
        self._index = index
        self._users = np.asarray(users)
        self._items = items
        self._finish = finish

    def top(self, queries: Sequence[Query]) -> list[Ranking]:
        if not queries:
            return []
        found = self._index.search(self._vectors(queries), queries)
        scores, ranked, start = self._scores(found.products), [], 0
        for query, count, scored in zip(queries, found.counts, found.scored, strict=True):
            end = start + count
            ranked.append(Ranking(found.rows[start:end], scores[start:end], self._path(query.k, scored)))
            start += query.k
        return ranked

    def _vectors(self, queries: Sequence[Query]) -> Float32Array:
        rows: list[Any] = [query.user_row for query in queries]
        if None in rows:
            return np.stack([self._users[query.user_row] if query.vector is None else query.vector for query in queries])
        return self._users.take(rows, axis=0)

    def _scores(self, products: Float32Array) -> Float32Array:
        if self._finish is None:
            return products
        padded = np.zeros(-(-len(products) // WHOLE) * WHOLE, np.float32)
        padded[: len(products)] = products
        (scores,) = self._finish.run((contract.SCORE_OUT,), {contract.PRODUCT: padded})
        return scores

    def _path(self, k: int, scored: int) -> str:
        """Which way out it was, by how many items were scored; a small catalogue may well be scored whole."""
        if scored * FULL_SCAN_SHARE > self._items:
            return FULL_SCAN
        return PROVED if scored <= max(FEW_ITEMS, PER_WANTED * k) else WIDENED
