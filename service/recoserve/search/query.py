"""Queries to a model and the rankings that it returns, in rows."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.search.filters import Condition
from recoserve.search.mask import Mask

NO_ROWS: Rows = np.empty(0, np.int64)
NO_SCORES: Float32Array = np.empty(0, np.float32)


class Query(NamedTuple):
    """Asks for the `k` best of all items, or of `candidates`, without `excluded` (both int64 rows, distinct and ascending).

    They are the best for the user in `user_row`, or for a `vector` float32 [d], or the most popular where both are None. Items must
    meet all `conditions`, which the model turns into a `mask`. `diversity` in [0, 1] is weighed against the score.
    """

    user_row: int | None
    k: int
    excluded: Rows = NO_ROWS
    candidates: Rows | None = None
    conditions: tuple[Condition, ...] = ()
    mask: Mask | None = None
    diversity: float = 0.0
    vector: Float32Array | None = None

    def allows(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each of `rows` is neither excluded nor masked out: int64 of any shape -> bool of that shape."""
        allowed = ~isin_sorted(rows, self.excluded)
        return allowed & self.mask.passes(rows) if self.mask else allowed


class NeighbourQuery(NamedTuple):
    """Asks for the `k` users or items (`side`) whose vectors have the largest cosine to that of `row`, without `row` itself.

    The other fields mean what they mean in `Query`.
    """

    side: Literal["user", "item"]
    row: int
    k: int
    excluded: Rows = NO_ROWS
    candidates: Rows | None = None
    conditions: tuple[Condition, ...] = ()


AnyQuery = Query | NeighbourQuery


class Ranking(NamedTuple):
    """Rows and their scores, best first: `item_rows` int64 [n], `scores` float32 [n], n <= k.

    The rows are those of users for a `NeighbourQuery` of the side `user`. Items of equal score are in the order of their rows. If a
    monotone tail turns products into scores, its rounding may make different products equal scores: then products decide the order.

    `path` says how all items were searched (`bounded_search` lists the paths); it is empty where there was no such search.
    """

    item_rows: Rows = NO_ROWS
    scores: Float32Array = NO_SCORES
    path: str = ""


def isin_sorted(rows: Rows, members: Rows) -> NDArray[np.bool_]:
    """Whether each of `rows` is in `members`, which are distinct and ascending: int64 of any shape -> bool of that shape."""
    if not len(members):
        return np.zeros(rows.shape, np.bool_)
    # `np.isin` doesn't know that `members` is sorted: it takes seven times as long for 512 rows and 200 members.
    nearest = np.minimum(np.searchsorted(members, rows), len(members) - 1)
    contained: NDArray[np.bool_] = members[nearest] == rows
    return contained
