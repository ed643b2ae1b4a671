"""The k best of all items by bounds: exact, though only a few items are ever scored.

The bound graph (`screen.onnx`) gives every block of 32 items an upper bound on their products with the query, from an int8 copy of
the items. The rescore graph (`rescore.onnx`) multiplies blocks in float32, those with the largest bounds first. Once k items have
been scored there is a threshold, the k-th largest product so far: a block whose bound is below it holds none of the k best. A
ranking is returned on one of three paths, each of which is a proof:

    proved      the k-th product is above the bound of every block that was left out
    widened     the planned rounds didn't prove it, so all blocks whose bounds reach the k-th product were rescored too; for a
                stepwise query: more than one step was needed
    full_scan   so many blocks would have to be rescored that scoring every item is cheaper

An item that is excluded or filtered out never counts toward the k. So k allowed items reach the threshold, and the proof holds for
any exclusions and any filter.

Most queries are ranked together in shared graph calls, with two rounds of rescoring. A query that has a filter or many exclusions
may have to pass over many items. It shares the call of the bound graph only; then its blocks are rescored in steps, in the order of
their bounds, more of them in each step, without blocks in which no item passes the filter.
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

MIN_BOUNDED_ITEMS = 1 << 15  # with fewer items, scoring all is faster than computing bounds
FIRST_BLOCKS = 16  # the fewest blocks that are rescored before there is a threshold
SORTED_PER_FIRST = 8  # so many times as many are sorted by their bounds; twice that if the index has MANY_BLOCKS or more
MANY_BLOCKS = 1 << 17
MAX_FIRST_SHARE = 16  # a full scan is cheaper if more than 1/16 of all blocks would be rescored before there is a threshold
MANY_EXCLUDED = 64  # a query with more exclusions is ranked stepwise
STEP_GROWTH = 4  # each step may rescore so many times as many blocks as the step before
BELOW_ALL = -np.inf  # the product of an item that isn't allowed; the threshold while fewer than k items have been scored


class BoundedSearch:
    """Ranks by the bundle's graphs `user`, `screen` and `rescore`, on processors for which there is no compiled kernel.

    `first_blocks` and `sorted_per_first` (see the constants) change the speed and the path, never a ranking. `levels` is the
    largest integer to which a query's numbers are scaled; by default the largest with which this processor's int8 products are
    exact.
    """

    def __init__(
        self,
        sessions: Mapping[str, Session],
        item_count: int,
        first_blocks: int = FIRST_BLOCKS,
        sorted_per_first: int = SORTED_PER_FIRST,
        levels: int | None = None,
    ) -> None:
        self._user_graph, self._bound_graph, self._rescore_graph = (sessions[role] for role in contract.SCREEN_GRAPHS)
        self._full_scan = FullScan(sessions, item_count)
        self._item_count = item_count
        self._block_count = -(-item_count // contract.BLOCK)
        self._first_blocks = first_blocks
        self._sorted_per_first = sorted_per_first * (1 if self._block_count < MANY_BLOCKS else 2)
        self._levels = np.array([levels or query_levels()], np.float32)

    def top(self, queries: Sequence[Query]) -> list[Ranking]:
        return rank_in_groups(queries, self._group_of, self._rank)

    def _group_of(self, query: Query) -> "_BlockGroup":
        """The group of queries that this one is ranked with."""
        # The items a user has seen usually score highest. With many exclusions the best blocks hold mostly excluded items, so the
        # number of blocks can't be fixed in advance.
        stepwise = query.mask is not None or len(query.excluded) > MANY_EXCLUDED
        # Each of the k best may be in a block of its own, and so may each excluded item that is better than they are.
        needed_blocks = max(self._first_blocks, query.k + (0 if stepwise else len(query.excluded)))
        first_blocks: int = 1 << (needed_blocks - 1).bit_length()
        return _BlockGroup(first_blocks if first_blocks * MAX_FIRST_SHARE <= self._block_count else 0, stepwise)

    def _rank(self, queries: Sequence[Query], group: "_BlockGroup") -> list[Ranking]:
        if not group.first_blocks:
            return self._full_scan.top(queries)
        vectors = self._vectors(queries)
        if not group.stepwise:
            return self._rank_together(queries, vectors, group.first_blocks)
        bounds, units = self._bound_graph.run((contract.BOUND, contract.UNIT), self._bound_feeds(vectors))
        per_query = zip(queries, np.split(vectors, len(vectors)), bounds * units, strict=True)
        return [self._rank_stepwise(query, vector, block_bounds) for query, vector, block_bounds in per_query]

    def _vectors(self, queries: Sequence[Query]) -> Float32Array:
        """Each query's vector, float32 [B, d]: its own, or that of its user."""
        user_rows = [query.user_row for query in queries if query.user_row is not None]
        user_vectors = iter(self._user_graph.run((contract.QUERY,), {contract.USER_ID: int64(user_rows)})[0] if user_rows else ())
        return np.stack([next(user_vectors) if query.vector is None else query.vector for query in queries])

    def _bound_feeds(self, vectors: Float32Array, sorted_count: int = 1) -> dict[str, NDArray[Any]]:
        """The inputs of the bound graph, which returns the `sorted_count` largest bounds of each query in order."""
        return {contract.QUERY: vectors, contract.LEVELS: self._levels, contract.BLOCKS: int64([sorted_count])}

    def _rank_together(self, queries: Sequence[Query], vectors: Float32Array, first_blocks: int) -> list[Ranking]:
        """A ranking for each query, from its `first_blocks` best blocks and the next ones whose bounds reach the threshold.

        If that isn't a proof for a query, all its blocks whose bounds reach the k-th product are rescored.
        """
        end = min(first_blocks * self._sorted_per_first, self._block_count - 1)  # of the sorted blocks that may be rescored
        outputs = (contract.BOUND, contract.UNIT, contract.BEST_BOUND, contract.BEST_BLOCK)
        bounds, units, sorted_bounds, sorted_blocks = self._bound_graph.run(outputs, self._bound_feeds(vectors, end + 1))
        query_positions = np.repeat(np.arange(len(queries)), first_blocks)
        rescored = self._rescore(queries, vectors, query_positions, sorted_blocks[:, :first_blocks].reshape(-1))
        thresholds = _kth_largest(rescored.products.reshape(len(queries), -1), np.array([query.k for query in queries]))
        query_positions, columns = np.nonzero(sorted_bounds[:, first_blocks:end] >= thresholds[:, None])
        if len(query_positions):
            second_blocks = sorted_blocks[query_positions, first_blocks + columns]
            rescored = rescored.followed_by(self._rescore(queries, vectors, query_positions, second_blocks))
        rankings, kth_products = rescored.rank(queries, thresholds, PROVED)
        # One block more is sorted than may be rescored: no block beyond the sorted ones has a larger bound. Sorted blocks that were
        # skipped have bounds below the threshold. A k-th product that only equals the bound is no proof, since an item of that
        # block may have the same product and a lower row.
        for position in np.flatnonzero(kth_products <= sorted_bounds[:, end]).tolist():
            # The graph multiplies only the sorted bounds by the query's unit. To multiply all bounds there would cost every query
            # another pass over its blocks; few queries are widened.
            block_bounds = bounds[position] * units[position]
            vector = vectors[position : position + 1]
            rankings[position] = self._widen(queries[position], vector, block_bounds, kth_products[position])
        return rankings

    def _widen(self, query: Query, vector: Float32Array, bounds: Float32Array, kth_product: np.float32) -> Ranking:
        """The ranking from all blocks whose bounds reach the k-th product so far; from a full scan if they are too many."""
        # Rescoring more blocks can only raise the k-th product, so no other block can qualify later: one round is enough. If fewer
        # than k allowed items have been rescored, `kth_product` is BELOW_ALL, all blocks qualify, and all items are scanned.
        blocks = np.flatnonzero(bounds >= kth_product)
        if len(blocks) * FULL_SCAN_SHARE > self._block_count:
            return self._full_scan.top([query])[0]
        rescored = self._rescore([query], vector, np.zeros(len(blocks), np.int64), blocks)
        return rescored.rank([query], np.array([kth_product]), WIDENED)[0][0]

    def _rank_stepwise(self, query: Query, vector: Float32Array, bounds: Float32Array) -> Ranking:
        """The ranking from blocks in the order of their `bounds` float32 [blocks], until no other bound reaches the threshold."""
        blocks = np.flatnonzero(query.mask.blocks()) if query.mask else np.arange(self._block_count)
        bounds = bounds[blocks]
        rescored, threshold, path = _NO_BLOCKS, np.array([BELOW_ALL], np.float32), PROVED
        # If a filter is independent of the scores, the k best items that pass are expected among the k / share best of all, each of
        # which may be in a block of its own.
        blocks_per_step = max(self._first_blocks, math.ceil(query.k / passing_share(query, self._item_count)))
        budget = self._block_count // FULL_SCAN_SHARE  # of blocks; beyond it a full scan is cheaper
        while len(blocks):
            largest, remaining = _split_largest(bounds, blocks_per_step)
            budget -= len(largest)
            if budget < 0:
                return self._full_scan.top([query])[0]
            step = self._rescore([query], vector, np.zeros(len(largest), np.int64), blocks[largest])
            rescored = rescored.followed_by(step)
            threshold = _kth_largest(rescored.products.reshape(1, -1), np.array([query.k]))
            remaining = remaining[bounds[remaining] >= threshold]
            blocks, bounds = blocks[remaining], bounds[remaining]
            if len(blocks):
                blocks_per_step, path = STEP_GROWTH * blocks_per_step, WIDENED
        return rescored.rank([query], threshold, path)[0][0]

    def _rescore(self, queries: Sequence[Query], vectors: Float32Array, query_positions: Rows, blocks: Rows) -> "_Rescored":
        """The products and scores of P pairs of a query and a block: int64 [P] each, `query_positions` ascending.

        The products of items that aren't allowed are BELOW_ALL.
        """
        feeds: dict[str, NDArray[Any]] = {contract.QUERY: vectors}
        feeds |= {contract.QUERY_ROW: int64(query_positions), contract.BLOCK_ROW: int64(blocks)}
        products, scores = self._rescore_graph.run((contract.PRODUCT, contract.SCORE_OUT), feeds)
        if items_in_last_block := self._item_count % contract.BLOCK:
            # The last block is padded with rows of zeros; their products, 0, would rank above every negative one.
            products[blocks == self._block_count - 1, items_in_last_block:] = BELOW_ALL
        for position, query in enumerate(queries):
            if query.mask or len(query.excluded):
                start, stop = np.searchsorted(query_positions, (position, position + 1))
                products[start:stop][~query.allows(_item_rows(blocks[start:stop]))] = BELOW_ALL
        return _Rescored(query_positions, blocks, products, scores)


class _BlockGroup(NamedTuple):
    """The key by which queries are grouped: those of one group share calls of the graphs.

    `first_blocks` is the number of blocks that are rescored at first: a power of two, so that there are few groups, or 0 if a full
    scan is cheaper. `stepwise` queries share the call of the bound graph only.
    """

    first_blocks: int
    stepwise: bool


class _Rescored(NamedTuple):
    """P pairs of a query and a block, and the products and scores of the block's items.

    `query_positions` and `blocks` int64 [P], `products` and `scores` float32 [P, BLOCK].
    """

    query_positions: Rows
    blocks: Rows
    products: Float32Array
    scores: Float32Array

    def followed_by(self, other: "_Rescored") -> "_Rescored":
        """These pairs, then the other's."""
        return _Rescored(
            np.concatenate((self.query_positions, other.query_positions)),
            np.concatenate((self.blocks, other.blocks)),
            np.concatenate((self.products, other.products)),
            np.concatenate((self.scores, other.scores)),
        )

    def rank(self, queries: Sequence[Query], thresholds: Float32Array, path: str) -> tuple[list[Ranking], Float32Array]:
        """Each query's k best of the rescored items, and its k-th product, float32 [B].

        The k-th product is BELOW_ALL if fewer than k allowed items are in the rescored blocks. `thresholds` float32 [B] must not
        exceed the k-th products.
        """
        # An item below its query's threshold needn't be sorted. A threshold of BELOW_ALL keeps all items, so the second comparison
        # drops those that aren't allowed.
        pairs, columns = np.nonzero((self.products >= thresholds[self.query_positions, None]) & (self.products > BELOW_ALL))
        query_positions, products = self.query_positions[pairs], self.products[pairs, columns]
        item_rows = self.blocks[pairs] * contract.BLOCK + columns
        # By products and not by scores, which a monotone tail may have made equal; equal products by ascending row.
        order = np.lexsort((item_rows, -products, query_positions))
        starts = np.searchsorted(query_positions[order], np.arange(len(queries) + 1))
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


def _split_largest(bounds: Float32Array, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The positions in `bounds` of its `count` largest numbers, in ascending order, and all other positions, in any order."""
    if count >= len(bounds):
        return np.arange(len(bounds)), np.empty(0, np.int64)
    order = np.argpartition(bounds, len(bounds) - count)
    return np.sort(order[-count:]), order[:-count]


def _kth_largest(products: Float32Array, ks: NDArray[np.int64]) -> Float32Array:
    """The k-th largest of each query's products: float32 [B, n] and int64 [B] -> float32 [B], BELOW_ALL where n < k."""
    largest = np.full(len(products), BELOW_ALL, np.float32)
    for k in set(ks.tolist()):
        if k <= products.shape[1]:
            same_k = ks == k
            largest[same_k] = np.partition(products[same_k], -k, axis=1)[:, -k]
    return largest


def _item_rows(blocks: Rows) -> Rows:
    """The item rows of each block: int64 [P] -> int64 [P, BLOCK]."""
    return blocks[:, None] * contract.BLOCK + np.arange(contract.BLOCK)
