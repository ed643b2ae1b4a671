"""What the exact searches over all items share: their contract, and the runs that several queries share."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, TypeVar

from recoserve.search.query import Query, Ranking

PROVED, WIDENED, FULL_SCAN = "proved", "widened", "full_scan"  # what `Ranking.path` may be
FULL_SCAN_SHARE = 4  # a full scan is cheaper than scoring a quarter of all items a few at a time
GroupKey = TypeVar("GroupKey", bound=Hashable)


class ExactSearch(Protocol):
    """Ranks all items for queries that have a user row or a vector, and neither candidates nor conditions."""

    def top(self, queries: Sequence[Query]) -> list[Ranking]:
        """The k best items that each query allows, one ranking for each query, in their order.

        A ranking is the same, to the last bit, whatever other queries stand beside it.
        """
        ...


def rank_in_groups(
    queries: Sequence[Query], key: Callable[[Query], GroupKey], rank: Callable[[Sequence[Query], GroupKey], list[Ranking]]
) -> list[Ranking]:
    """A ranking for each query, in their order, from one call of `rank` for all queries that have the same `key`.

    The key says how much work a query needs, so that one that needs a lot doesn't slow the others down.
    """
    positions_by_key: dict[GroupKey, list[int]] = defaultdict(list)
    for position, query in enumerate(queries):
        positions_by_key[key(query)].append(position)
    rankings: dict[int, Ranking] = {}
    for key_of_group, positions in positions_by_key.items():
        rankings |= zip(positions, rank([queries[position] for position in positions], key_of_group), strict=True)
    return [rankings[position] for position in range(len(queries))]


def passing_share(query: Query, items: int) -> float:
    """How much of all items the query's mask lets pass, in (0, 1]."""
    return max(query.mask.count, 1) / items if query.mask else 1.0
