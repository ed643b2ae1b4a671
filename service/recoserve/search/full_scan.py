"""Ranks by scoring every item: on CUDA, for models without vectors, and where bounds don't pay."""

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

MIN_DEPTH = 16  # of a list of the best items; shorter lists cost about the same
DEPTH_GROWTH = 8  # if a list was too short, the next one is so many times as long


class FullScan:
    """Ranks by the `recommend` graphs: gets a list of the best items that is long enough, and drops those that aren't allowed.

    `batched` is for models that score the items for several queries by one matrix product. Otherwise every query has a run of its
    own, so that memory holds one user's scores at a time.
    """

    def __init__(self, sessions: Mapping[str, Session], item_count: int, batched: bool = True) -> None:
        self._sessions = sessions
        self._item_count = item_count
        self._batched = batched

    def top(self, queries: Sequence[Query]) -> list[Ranking]:
        if self._batched:
            return rank_in_groups(queries, self._group_of, self._scan)
        return [self._scan([query], self._group_of(query))[0] for query in queries]

    def _group_of(self, query: Query) -> "_ScanGroup":
        # Excluded items are likely to be among the best, so the list is longer by all of them. If a mask is independent of the
        # scores, the k-th item that passes is expected at position k / share. `_scan` makes up for masks that aren't independent.
        depth = math.ceil(query.k / passing_share(query, self._item_count)) + len(query.excluded)
        return _ScanGroup(max(MIN_DEPTH, 1 << (depth - 1).bit_length()), query.vector is None)

    def _scan(self, queries: Sequence[Query], group: "_ScanGroup") -> list[Ranking]:
        depth = min(group.depth, self._item_count)
        lists = zip(queries, *self._run(queries, depth, group.by_user_row), strict=False)  # a lone query gets two lists
        rankings = [_first_allowed(query, rows, scores) for query, rows, scores in lists]
        for position, (query, ranking) in enumerate(zip(queries, rankings, strict=True)):
            # The list had room for every excluded item, so only a mask can have made it too short.
            if query.mask and len(ranking.item_rows) < query.k and depth < self._item_count:
                deeper = group._replace(depth=DEPTH_GROWTH * group.depth)
                rankings[position] = self._scan([query], deeper)[0]
        return rankings

    def _run(self, queries: Sequence[Query], depth: int, by_user_row: bool) -> Sequence[NDArray[Any]]:
        """Each query's best item rows and scores, int64 and float32 [B, depth]; those of a lone query twice."""
        if self._batched and len(queries) == 1:
            # The runtime multiplies a single row by another routine than several rows, and the sums are rounded differently: a
            # ranking would depend on whether other queries are in the batch. From two rows on, every row has the same bits.
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
    """The key by which queries are grouped: those of one group share a run.

    `depth` is how many of the best items the run lists: a power of two, so that queries with a few more exclusions than others
    share their run. `by_user_row` is whether the queries have no vector.
    """

    depth: int
    by_user_row: bool


def _first_allowed(query: Query, rows: Rows, scores: Float32Array) -> Ranking:
    """The ranking of the first k items in a list, best first, that the query allows."""
    # The graph sorts by products, equal ones by ascending row, before a monotone tail, which may make more scores equal. Dropping
    # items keeps that order; sorting again by the scores would not.
    if query.mask or len(query.excluded):
        allowed = query.allows(rows)
        rows, scores = rows[allowed], scores[allowed]
    return Ranking(rows[: query.k], scores[: query.k], FULL_SCAN)
