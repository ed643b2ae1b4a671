"""The interface of the exact searches over all items, and the grouping of queries that share runs."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, TypeVar

from recoserve.search.query import Query, Ranking

PROVED, WIDENED, FULL_SCAN = "proved", "widened", "full_scan"  # the values of `Ranking.path`; `bounded_search` explains them
FULL_SCAN_SHARE = 4  # a full scan is cheaper than scoring more than 1/4 of all items a few at a time
GroupKey = TypeVar("GroupKey", bound=Hashable)


class ExactSearch(Protocol):
    """Ranks all items for queries that have a user row or a vector, and neither candidates nor conditions."""

    def top(self, queries: Sequence[Query]) -> list[Ranking]:
        """The k best items that each query allows, one ranking for each query, in their order.

        A ranking is bit for bit the same whatever other queries are in the batch.
        """
        ...


def rank_in_groups(
    queries: Sequence[Query], key: Callable[[Query], GroupKey], rank: Callable[[Sequence[Query], GroupKey], list[Ranking]]
) -> list[Ranking]:
    """A ranking for each query, in their order, from one call of `rank` for all queries with the same `key`.

    The key says how much work a query needs: queries that need little don't share a run with one that needs a lot.
    """
    positions_by_key: dict[GroupKey, list[int]] = defaultdict(list)
    for position, query in enumerate(queries):
        positions_by_key[key(query)].append(position)
    rankings: dict[int, Ranking] = {}
    for group_key, positions in positions_by_key.items():
        rankings |= zip(positions, rank([queries[position] for position in positions], group_key), strict=True)
    return [rankings[position] for position in range(len(queries))]


def passing_share(query: Query, item_count: int) -> float:
    """The share of all items that pass the query's mask, in (0, 1]: at least that of one item, since callers divide by it."""
    return max(query.mask.count, 1) / item_count if query.mask else 1.0
