"""What is asked of a model, and what it answers, in rows."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

NO_ROWS: NDArray[np.int64] = np.empty(0, np.int64)
NO_SCORES: NDArray[np.float32] = np.empty(0, np.float32)


@dataclass(frozen=True)
class Query:
    """What one user is to be ranked: `k` of all items, or of `candidates`, without `excluded` (both distinct rows)."""

    user_row: int
    k: int
    excluded: NDArray[np.int64] = field(default_factory=lambda: NO_ROWS)
    candidates: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Ranked:
    """One user's answer, best first: `item_rows` int64 [n], `scores` float32 [n], n <= k.

    Equals stand by ascending row, as they are in front of a score's tail, whose rounding may make more of them equal.
    `path` tells how the whole catalogue was searched (`retrieval` lists the ways); empty where candidates alone were ranked.
    """

    item_rows: NDArray[np.int64] = field(default_factory=lambda: NO_ROWS)
    scores: NDArray[np.float32] = field(default_factory=lambda: NO_SCORES)
    path: str = ""
