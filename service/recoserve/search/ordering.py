"""Selects the k best of some rows, in the one order of the whole service: by falling score, equal scores by ascending row."""

import numpy as np

from recoserve.bundle.arrays import Float32Array, Rows


def best_first(rows: Rows, scores: Float32Array, k: int) -> tuple[Rows, Float32Array]:
    """The k best rows and their scores, best first.

    `rows` int64 [n] and `scores` float32 [n] in any order -> int64 [min(k, n)], float32 [min(k, n)].
    """
    positions = best_positions(rows, scores, k)
    return rows[positions], scores[positions]


def best_positions(rows: Rows, scores: Float32Array, k: int) -> Rows:
    """The positions of the k best in `rows` and `scores`, best first: int64 [n], float32 [n] in any order -> int64 [min(k, n)]."""
    if k < len(rows):
        # A partition would pick any of the items whose scores equal the k-th. All of these are sorted, so that the lowest rows win.
        candidates = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
        return candidates[np.lexsort((rows[candidates], -scores[candidates]))[:k]]
    return np.lexsort((rows, -scores))[:k]
