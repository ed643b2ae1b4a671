"""Ranks by the compiled kernel, with the bounds and the proof of `bounded_search`, in one call for a batch.

The kernel scores items in float32 in the order of their bounds, until no other item can be one of the k best. Items that are
excluded or filtered out never count toward the k.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from recoserve.bundle import contract
from recoserve.bundle.arrays import Float32Array
from recoserve.search.exact_search import FULL_SCAN, FULL_SCAN_SHARE, PROVED, WIDENED
from recoserve.search.kernel.index import Index
from recoserve.search.query import Query, Ranking
from recoserve.search.session import Session

VECTOR_WIDTH = 16  # float32 numbers in the widest register
PROVED_ITEMS, PROVED_ITEMS_PER_K = 512, 16  # most rankings rescore no more items, in all or for each of the k: they count as PROVED


class KernelSearch:
    """Ranks by an `index`. `users` float32 [U, d] are the users' vectors, `tail` the graph of the monotone tail, if any."""

    def __init__(self, index: Index, users: Float32Array, item_count: int, tail: Session | None = None) -> None:
        self._index = index
        self._users = np.asarray(users)
        self._item_count = item_count
        self._tail = tail

    def top(self, queries: Sequence[Query]) -> list[Ranking]:
        if not queries:
            return []
        best = self._index.search(self._vectors(queries), queries)
        scores = best.products if self._tail is None else self._tail_scores(self._tail, best.products)
        rankings, start = [], 0
        for query, count, rescored in zip(queries, best.counts, best.rescored, strict=True):
            # The kernel has no paths; a ranking gets the one that fits its number of rescored items.
            if rescored * FULL_SCAN_SHARE > self._item_count:
                path = FULL_SCAN
            else:
                path = PROVED if rescored <= max(PROVED_ITEMS, PROVED_ITEMS_PER_K * query.k) else WIDENED
            end = start + count
            rankings.append(Ranking(best.rows[start:end], scores[start:end], path))
            start += query.k
        return rankings

    def _vectors(self, queries: Sequence[Query]) -> Float32Array:
        rows: list[Any] = [query.user_row for query in queries]
        if None in rows:
            return np.stack([self._users[query.user_row] if query.vector is None else query.vector for query in queries])
        return self._users.take(rows, axis=0)

    def _tail_scores(self, tail: Session, products: Float32Array) -> Float32Array:
        # The runtime computes full registers by one routine and the numbers behind them by another, which may round differently: a
        # score would depend on its position in the batch. So the last register is filled up with zeros.
        padded = np.zeros(-(-len(products) // VECTOR_WIDTH) * VECTOR_WIDTH, np.float32)
        padded[: len(products)] = products
        (scores,) = tail.run((contract.SCORE_OUT,), {contract.PRODUCT: padded})
        return scores
