"""The k best of all items by bounds: exact, though only a few of them are ever scored.

The graph `screen` gives every block of 32 items an upper bound on their products with the query, from an int8 copy of the items.
The graph `rescore` multiplies blocks in float32, those with the largest bounds first. Once k items have been scored there is a
threshold, the k-th largest product so far: a block whose bound is below it holds none of the k best. A ranking is returned on one
of three paths, each of which is a proof:

    proved      the k-th product is above the bound of every block that was left out
    widened     it was not; then every block whose bound reaches the k-th product was rescored too, so nothing left out can beat it
    full_scan   so many blocks would have to be rescored that scoring every item is cheaper

An item that is excluded or masked never counts toward the k, so the threshold is one of allowed items, and the proof holds under
any exclusion and any filter.

Most queries share their runs, and rescore in two rounds. A query that may have to pass over many items goes alone, in steps: blocks
in the order of their bounds, more of them in each step, without those that hold nothing allowed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle import contract
from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.search.cpu import query_levels
from recoserve.search.exact_search import FULL_SCAN_SHARE, PROVED, WIDENED, passing_share, rank_in_groups
from recoserve.search.full_scan import FullScan
from recoserve.search.query import Query, Ranking
from recoserve.search.session import Session, int64

MIN_BOUNDED_ITEMS = 1 << 15  # fewer are scored faster than bounded
FIRST_BLOCKS = 16  # rescored while there is no threshold
SORTED_PER_FIRST = 8  # blocks in the order of their bounds, for each first one; twice as many of an index of
MANY_BLOCKS = 1 << 17
FIRST_SHARE = 16  # a full scan is cheaper than rescoring a sixteenth of all blocks before there is a threshold
MANY_EXCLUDED = 64  # beyond these a query goes alone
STEP_GROWTH = 4  # how many times as many blocks each further step may rescore
BELOW_ALL = -np.inf  # the product of an item that isn't allowed; the threshold while fewer than k items are known


class BoundedSearch:
    """Ranks by the graphs `user`, `screen` and `rescore`, for processors without a kernel.

    `first_blocks` and `sorted_per_first` (see the constants) change the speed and the path, never a ranking. `levels` is how finely
    the query is rounded to int8; by default as finely as this processor multiplies exactly.
    """

    def __init__(
        self,
        sessions: Mapping[str, Session],
        items: int,
        first_blocks: int = FIRST_BLOCKS,
        sorted_per_first: int = SORTED_PER_FIRST,
        levels: int | None = None,
    ) -> None:
        self._user_graph, self._bound_graph, self._rescore_graph = (sessions[role] for role in contract.SCREEN_GRAPHS)
        self._full_scan = FullScan(sessions, items)
        self._items = items
        self._blocks = -(-items // contract.BLOCK)
        self._first_blocks = first_blocks
        self._sorted_per_first = sorted_per_first * (1 if self._blocks < MANY_BLOCKS else 2)
        self._levels = np.array([levels or query_levels()], np.float32)

    def top(self, queries: Sequence[Query]) -> list[Ranking]:
        return rank_in_groups(queries, self._group_of, self._rank)

    def _group_of(self, query: Query) -> "_BlockGroup":
        # What a user has seen is what scores best for them: with many exclusions the first blocks are full of it, and no number of
        # blocks that is fixed beforehand fits.
        stepwise = query.mask is not None or len(query.excluded) > MANY_EXCLUDED
        # Each of the k best may be in a block of its own, and so may each excluded item that is better than they are.
        blocks = max(self._first_blocks, query.k + (0 if stepwise else len(query.excluded)))
        first_blocks: int = 1 << (blocks - 1).bit_length()
        return _BlockGroup(first_blocks if first_blocks * FIRST_SHARE <= self._blocks else 0, stepwise)

    def _rank(self, queries: Sequence[Query], group: "_BlockGroup") -> list[Ranking]:
        if not group.first_blocks:
            return self._full_scan.top(queries)
        vectors = self._vectors(queries)
        if not group.stepwise:
            return self._rank_together(queries, vectors, group.first_blocks)
        bounds, units = self._bound_graph.run((contract.BOUND, contract.UNIT), self._bound_feeds(vectors))
        solo = zip(queries, np.split(vectors, len(vectors)), bounds * units, strict=True)
        return [self._rank_stepwise(query, vector, block_bounds) for query, vector, block_bounds in solo]

    def _vectors(self, queries: Sequence[Query]) -> Float32Array:
        """Each query's vector, float32 [B, d]: its own, or its user's."""
        rows = [query.user_row for query in queries if query.user_row is not None]
        user_vectors = iter(self._user_graph.run((contract.QUERY,), {contract.USER_ID: int64(rows)})[0] if rows else ())
        return np.stack([next(user_vectors) if query.vector is None else query.vector for query in queries])

    def _bound_feeds(self, vectors: Float32Array, sorted_blocks: int = 1) -> dict[str, NDArray[Any]]:
        return {contract.QUERY: vectors, contract.LEVELS: self._levels, contract.BLOCKS: int64([sorted_blocks])}

    def _rank_together(self, queries: Sequence[Query], vectors: Float32Array, first: int) -> list[Ranking]:
        """Rescore the `first` blocks of every query, then those of its next ones whose bounds reach the threshold."""
        end = min(first * self._sorted_per_first, self._blocks - 1)
        outputs = (contract.BOUND, contract.UNIT, contract.BEST_BOUND, contract.BEST_BLOCK)
        bounds, units, sorted_bounds, sorted_blocks = self._bound_graph.run(outputs, self._bound_feeds(vectors, end + 1))
        query_rows = np.repeat(np.arange(len(queries)), first)
        rescored = self._rescore(queries, vectors, query_rows, sorted_blocks[:, :first].reshape(-1))
        thresholds = _kth_largest(rescored.products.reshape(len(queries), -1), np.array([query.k for query in queries]))
        query_rows, columns = np.nonzero(sorted_bounds[:, first:end] >= thresholds[:, None])
        if len(query_rows):
            second = self._rescore(queries, vectors, query_rows, sorted_blocks[query_rows, first + columns])
            rescored = rescored.joined(second)
        rankings, kth_products = rescored.ranked(queries, thresholds, PROVED)
        # One block more is sorted than may be rescored: its bound is the largest of all that were left out. A k-th product that
        # only equals it is no proof, since an item in there may have the same product and a lower row.
        for position in np.flatnonzero(kth_products <= sorted_bounds[:, end]).tolist():
            # Bounds come in a unit of the query's own. To have the graph multiply them all would cost every query a pass over its
            # blocks; few are widened.
            block_bounds = bounds[position] * units[position]
            vector = vectors[position : position + 1]
            rankings[position] = self._widen(queries[position], vector, block_bounds, kth_products[position])
        return rankings

    def _widen(self, query: Query, vector: Float32Array, bounds: Float32Array, kth_product: np.float32) -> Ranking:
        """Rescore every block that may hold one of the k best: all other bounds are below a product that k items reach."""
        # The k-th product can only rise from here, so nothing that is left out now could come back: one round is enough. Where
        # fewer than k items were found it is BELOW_ALL, all blocks qualify, and all items are scanned.
        blocks = np.flatnonzero(bounds >= kth_product)
        if len(blocks) * FULL_SCAN_SHARE > self._blocks:
            return self._full_scan.top([query])[0]
        rescored = self._rescore([query], vector, np.zeros(len(blocks), np.int64), blocks)
        return rescored.ranked([query], np.array([kth_product]), WIDENED)[0][0]

    def _rank_stepwise(self, query: Query, vector: Float32Array, bounds: Float32Array) -> Ranking:
        """Rescore blocks in the order of their `bounds` float32 [blocks], until none that is left reaches the threshold."""
        blocks = np.flatnonzero(query.mask.blocks()) if query.mask else np.arange(self._blocks)
        bounds = bounds[blocks]
        rescored, threshold, path = _NO_BLOCKS, np.array([BELOW_ALL], np.float32), PROVED
        step = max(self._first_blocks, math.ceil(query.k / passing_share(query, self._items)))
        budget = self._blocks // FULL_SCAN_SHARE
        while len(blocks):
            largest, others = _split_largest(bounds, step)
            budget -= len(largest)
            if budget < 0:
                return self._full_scan.top([query])[0]
            rescored = rescored.joined(self._rescore([query], vector, np.zeros(len(largest), np.int64), blocks[largest]))
            threshold = _kth_largest(rescored.products.reshape(1, -1), np.array([query.k]))
            others = others[bounds[others] >= threshold]
            blocks, bounds = blocks[others], bounds[others]
            if len(blocks):
                step, path = STEP_GROWTH * step, WIDENED
        return rescored.ranked([query], threshold, path)[0][0]

    def _rescore(self, queries: Sequence[Query], vectors: Float32Array, query_rows: Rows, blocks: Rows) -> "_Rescored":
        """Products and scores of the items of `blocks` int64 [P], each for the query in `query_rows` int64 [P], ascending.

        The products of items that aren't allowed are BELOW_ALL.
        """
        feeds: dict[str, NDArray[Any]] = {contract.QUERY: vectors}
        feeds |= {contract.QUERY_ROW: int64(query_rows), contract.BLOCK_ROW: int64(blocks)}
        products, scores = self._rescore_graph.run((contract.PRODUCT, contract.SCORE_OUT), feeds)
        if in_last_block := self._items % contract.BLOCK:
            # Rows of zeros fill the last block up; their products would stand in front of every negative one.
            products[blocks == self._blocks - 1, in_last_block:] = BELOW_ALL
        for position, query in enumerate(queries):
            if query.mask or len(query.excluded):
                start, stop = np.searchsorted(query_rows, (position, position + 1))
                products[start:stop][~query.allows(_item_rows(blocks[start:stop]))] = BELOW_ALL
        return _Rescored(query_rows, blocks, products, scores)


class _BlockGroup(NamedTuple):
    """Queries that are ranked together.

    `first_blocks`, a power of two, is how many blocks are rescored at first, 0 where a full scan is cheaper. `stepwise` queries
    share their bounds, and go alone from there.
    """

    first_blocks: int
    stepwise: bool


class _Rescored(NamedTuple):
    """Pairs of a query and a block: `query_rows`, `blocks` int64 [P]; their items' `products`, `scores` float32 [P, BLOCK]."""

    query_rows: Rows
    blocks: Rows
    products: Float32Array
    scores: Float32Array

    def joined(self, other: "_Rescored") -> "_Rescored":
        """These pairs, and the other ones behind them."""
        return _Rescored(
            np.concatenate((self.query_rows, other.query_rows)),
            np.concatenate((self.blocks, other.blocks)),
            np.concatenate((self.products, other.products)),
            np.concatenate((self.scores, other.scores)),
        )

    def ranked(self, queries: Sequence[Query], thresholds: Float32Array, path: str) -> tuple[list[Ranking], Float32Array]:
        """Each query's k best, and its k-th product, float32 [B]: BELOW_ALL where fewer than k items are allowed.

        `thresholds` float32 [B] are products that k items of each query reach.
        """
        # Whatever is below the threshold is sorted in vain. The second comparison is for thresholds of BELOW_ALL, which every item
        # reaches, allowed or not.
        pairs, columns = np.nonzero((self.products >= thresholds[self.query_rows, None]) & (self.products > BELOW_ALL))
        query_rows, products = self.query_rows[pairs], self.products[pairs, columns]
        item_rows = self.blocks[pairs] * contract.BLOCK + columns
        # By products and not by scores, which a monotone tail may have made equal; equal products by ascending row.
        order = np.lexsort((item_rows, -products, query_rows))
        starts = np.searchsorted(query_rows[order], np.arange(len(queries) + 1))
        item_rows, products, scores = item_rows[order], products[order], self.scores[pairs, columns][order]
        kth_products = np.full(len(queries), BELOW_ALL, np.float32)
        rankings = []
        for position, query in enumerate(queries):
            start, stop = starts[position], min(starts[position + 1], starts[position] + query.k)
            if stop - start == query.k:
                kth_products[position] = products[stop - 1]
            rankings.append(Ranking(item_rows[start:stop], scores[start:stop], path))
        return rankings, kth_products


_NO_BLOCKS = _Rescored(*(np.empty(0, np.int64),) * 2, *(np.empty((0, contract.BLOCK), np.float32),) * 2)


def _split_largest(bounds: Float32Array, count: int) -> tuple[Rows, Rows]:
    """The positions of the `count` largest, ascending, and the positions of the others, in any order."""
    if count >= len(bounds):
        return np.arange(len(bounds)), np.empty(0, np.int64)
    order = np.argpartition(bounds, len(bounds) - count)
    return np.sort(order[-count:]), order[:-count]


def _kth_largest(products: Float32Array, k: Rows) -> Float32Array:
    """The k-th largest of each row: float32 [B, n] and int64 [B] -> float32 [B], BELOW_ALL where n < k."""
    largest = np.full(len(products), BELOW_ALL, np.float32)
    for depth in set(k.tolist()):
        if depth <= products.shape[1]:
            same_k = k == depth
            largest[same_k] = np.partition(products[same_k], -depth, axis=1)[:, -depth]
    return largest


def _item_rows(blocks: Rows) -> Rows:
    """The items of each block: int64 [P] -> [P, BLOCK]."""
    return blocks[:, None] * contract.BLOCK + np.arange(contract.BLOCK)
