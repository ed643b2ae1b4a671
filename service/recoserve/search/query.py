"""What is asked of a model, and what it answers, in rows."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.search.filters import Condition, Mask

NO_ROWS: Rows = np.empty(0, np.int64)
NO_SCORES: Float32Array = np.empty(0, np.float32)


class Query(NamedTuple):
    """The `k` best of all items, or of `candidates`, without `excluded` (both int64 rows, distinct and ascending).

    Best for the user in `user_row`, or for a `vector` float32 [d]; where both are None, by popularity. An item must meet all
    `conditions`; the model turns them into a `mask`. `diversity` in [0, 1] is weighed against the score.
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
        """Which of some rows are neither excluded nor masked: int64 of any shape -> bool of that shape."""
        allowed = ~among(rows, self.excluded)
        return allowed & self.mask.has(rows) if self.mask else allowed


class NeighbourQuery(NamedTuple):
    """The `k` users or items (`side`) whose vectors have the largest cosine to that of `row`, itself left out."""

    side: str
    row: int
    k: int
    excluded: Rows = NO_ROWS
    candidates: Rows | None = None
    conditions: tuple[Condition, ...] = ()


AnyQuery = Query | NeighbourQuery


class Ranking(NamedTuple):
    """An answer, best first: `item_rows` int64 [n], `scores` float32 [n], n <= k; of users, where the nearest users were asked for.

    Equals stand by ascending row, as they are in front of a score's tail, whose rounding may make more of them equal.
    `path` tells how the whole catalogue was searched (`retrieval` lists the ways); empty where candidates alone were ranked.
    """

    item_rows: Rows = NO_ROWS
    scores: Float32Array = NO_SCORES
    path: str = ""


def among(rows: Rows, members: Rows) -> NDArray[np.bool_]:
    """Which of some rows are members (ascending): int64 of any shape -> bool of that shape."""
    if not len(members):
        return np.zeros(rows.shape, np.bool_)
    found: NDArray[np.bool_] = members[np.minimum(np.searchsorted(members, rows), len(members) - 1)] == rows
    return found
