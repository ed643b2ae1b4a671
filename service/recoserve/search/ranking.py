"""Ordering what was found: pure NumPy, the same order every time."""

import numpy as np
from numpy.typing import NDArray

LEAST_POOL, POOL_PER_ITEM = 100, 4  # how many of the best a diverse answer is chosen from


def best_first(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k best of some rows, equal scores by ascending row.

    `rows` int64 [M] and `scores` float32 [M] in any order -> int64 [min(k, M)], float32 [min(k, M)].
    """
    places = best_places(rows, scores, k)
    return rows[places], scores[places]


def best_places(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Where the same k stand, best first: int64 [min(k, M)]."""
    if k < len(rows):
        reached = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
        return reached[np.lexsort((rows[reached], -scores[reached]))[:k]]
    return np.lexsort((rows, -scores))[:k]


def pool_size(k: int) -> int:
    """How many of the best items a diverse answer of k is chosen from."""
    return max(POOL_PER_ITEM * k, LEAST_POOL)


def diverse(scores: NDArray[np.float32], vectors: NDArray[np.float32], k: int, diversity: float) -> NDArray[np.int64]:
    """The places of k items that are good and unlike each other, in the order chosen: maximal marginal relevance.

    `scores` float32 [M], best first, and the items' `vectors` float32 [M, d] -> int64 [min(k, M)]. First the best; then again and
    again the item with the largest (1 - diversity) r - diversity c, where r is its score on a scale from 0, the pool's lowest, to
    1, its best, and c its largest cosine to an item already chosen (0 for a vector of zeros). Equals by place. Source: Carbonell
    and Goldstein, The use of MMR, diversity-based reranking (SIGIR 1998).
    """
    if not len(scores):
        return np.empty(0, np.int64)
    units = unit_rows(vectors)
    exact = scores.astype(np.float64)
    spread = exact[0] - exact[-1]
    worth = (1 - diversity) * ((exact - exact[-1]) / spread if spread > 0 else np.ones(len(exact)))
    nearest = np.full(len(exact), -np.inf)
    chosen = [0]
    for _ in range(min(k, len(exact)) - 1):
        nearest = np.maximum(nearest, units @ units[chosen[-1]])
        value = worth - diversity * nearest
        value[chosen] = -np.inf
        chosen.append(int(np.argmax(value)))
    return np.array(chosen, np.int64)


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Each row at length 1, in float64; rows of zeros stay as they are: float32 [M, d] -> float64 [M, d]."""
    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    return exact / np.where(lengths > 0, lengths, 1)
