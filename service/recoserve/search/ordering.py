"""The k best of some rows, in one order for all of the service: falling scores, equal ones by ascending row."""

import numpy as np

from recoserve.bundle.arrays import Float32Array, Rows


def best_first(rows: Rows, scores: Float32Array, k: int) -> tuple[Rows, Float32Array]:
    """The k best rows and their scores, best first.

    `rows` int64 [n] and `scores` float32 [n] in any order -> int64 [min(k, n)], float32 [min(k, n)].
    """
    positions = best_positions(rows, scores, k)
    return rows[positions], scores[positions]


def best_positions(rows: Rows, scores: Float32Array, k: int) -> Rows:
    """Where the k best stand, best first: int64 [n], float32 [n] in any order -> int64 [min(k, n)]."""
    if k < len(rows):
        # A partition alone would take any of the items that equal the k-th; all of them go on, so that the lowest rows come first.
        candidates = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
        return candidates[np.lexsort((rows[candidates], -scores[candidates]))[:k]]
    return np.lexsort((rows, -scores))[:k]
