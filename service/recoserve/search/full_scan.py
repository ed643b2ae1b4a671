"""The k best of all items by the score of every item: for CUDA, for models without vectors, and where bounds don't pay."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle import contract
from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.search.exact_search import FULL_SCAN, passing_share, rank_in_groups
from recoserve.search.query import Query, Ranking
from recoserve.search.session import Session, int64

MIN_DEPTH = 16  # shorter lists cost about the same
DEPTH_GROWTH = 8  # how many times as long the next list is, where one was too short


class FullScan:
    """Ranks by the `recommend` graphs: takes a list of the best items that is long enough, and drops those that aren't allowed.

    `batched` where one matrix product scores the items for several queries; else every query is a run of its own, so that memory
    holds one user's scores at a time.
    """

    def __init__(self, sessions: Mapping[str, Session], items: int, batched: bool = True) -> None:
        self._sessions = sessions
        self._items = items
        self._batched = batched

    def top(self, queries: Sequence[Query]) -> list[Ranking]:
        if self._batched:
            return rank_in_groups(queries, self._group_of, self._scan)
        return [self._scan([query], self._group_of(query))[0] for query in queries]

    def _group_of(self, query: Query) -> "_ScanGroup":
        # Exclusions are likely to be among the best, so the list is longer by all of them. A mask is taken to be independent of the
        # scores: its k-th item is then expected k / share down the list. `_scan` makes up for masks that aren't.
        depth = math.ceil(query.k / passing_share(query, self._items)) + len(query.excluded)
        return _ScanGroup(max(MIN_DEPTH, 1 << (depth - 1).bit_length()), query.vector is None)

    def _scan(self, queries: Sequence[Query], group: "_ScanGroup") -> list[Ranking]:
        depth = min(group.depth, self._items)
        lists = zip(queries, *self._run(queries, depth, group.by_user_row), strict=False)  # a lone query has two
        rankings = [_first_allowed(query, rows, scores) for query, rows, scores in lists]
        for position, (query, ranking) in enumerate(zip(queries, rankings, strict=True)):
            # Only a mask can have left the list too short: there was room in it for every exclusion.
            if query.mask and len(ranking.item_rows) < query.k and depth < self._items:
                deeper = group._replace(depth=DEPTH_GROWTH * group.depth)
                rankings[position] = self._scan([query], deeper)[0]
        return rankings

    def _run(self, queries: Sequence[Query], depth: int, by_user_row: bool) -> Sequence[NDArray[Any]]:
        """Each query's best item rows and scores, int64 and float32 [B, depth]; of a lone query twice."""
        if self._batched and len(queries) == 1:
            # The runtime multiplies a single row by another routine than several, whose sums round otherwise: the query's own
            # ranking would depend on whether others came with it. Of a matrix with two rows every row has the bits of any batch.
            queries = [*queries, *queries]
        feeds: dict[str, NDArray[Any]] = {contract.K: int64([depth])}
        if by_user_row:
            role = contract.RECOMMEND
            feeds[contract.USER_ID] = int64([query.user_row for query in queries if query.user_row is not None])
        else:
            role = contract.RECOMMEND_QUERY
            feeds[contract.QUERY] = np.stack([query.vector for query in queries if query.vector is not None])
        return self._sessions[role].run((contract.ITEM_ID, contract.SCORE_OUT), feeds)


class _ScanGroup(NamedTuple):
    """Queries that share a run: `depth` is how many of the best items it lists, `by_user_row` whether they have no vector.

    The depth is a power of two, so that queries which differ by a few exclusions share a run.
    """

    depth: int
    by_user_row: bool


def _first_allowed(query: Query, rows: Rows, scores: Float32Array) -> Ranking:
    """The first k items of a list that the query allows."""
    # The graph's TopK puts equal products by ascending row, in front of a monotone tail that may make more of them equal. Dropping
    # items keeps that order; sorting again, by the scores, would not.
    if query.mask or len(query.excluded):
        allowed = query.allows(rows)
        rows, scores = rows[allowed], scores[allowed]
    return Ranking(rows[: query.k], scores[: query.k], FULL_SCAN)
