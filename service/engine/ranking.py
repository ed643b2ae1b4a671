"""Ordering candidates: pure NumPy, the same order every time."""

import numpy as np
from numpy.typing import NDArray


def best_first(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k best of some rows, equal scores by ascending row.

    `rows` int64 [M] and `scores` float32 [M] in any order -> int64 [min(k, M)], float32 [min(k, M)].
    """
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]


def without(
    rows: NDArray[np.int64], scores: NDArray[np.float32], excluded: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The first k of an ordered list that are not in `excluded`, in their order.

    Exact where the list holds the best k + len(excluded), or the whole catalogue.
    """
    if len(excluded):
        kept = ~np.isin(rows, excluded)
        rows, scores = rows[kept], scores[kept]
    return rows[:k], scores[:k]
