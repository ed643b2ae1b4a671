"""Maximal marginal relevance: ranks by weighing an item's score against its likeness to the items before it."""

import numpy as np

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.search.vectors import unit_rows

MIN_POOL, POOL_PER_ITEM = 100, 4  # how many of the best items a diverse ranking is chosen from: at least, and for each of its k


def pool_size(k: int) -> int:
    """The number of best items that a diverse ranking of k items is chosen from."""
    return max(POOL_PER_ITEM * k, MIN_POOL)


def diverse_positions(scores: Float32Array, vectors: Float32Array, k: int, diversity: float) -> Rows:
    """The positions of k of n items that score well and are unlike each other, in the order of choice: int64 [min(k, n)].

    `scores` float32 [n], best first; `vectors` float32 [n, d] of the same items; `diversity` in [0, 1]. The best item is chosen
    first; then, again and again, the item with the largest (1 - diversity) r - diversity c, where r is its score on a scale from 0
    (the lowest of the n) to 1 (the best), and c its largest cosine to a chosen item (0 for a vector of zeros). Of equal items the
    first is chosen. Source: Carbonell and Goldstein, The use of MMR, diversity-based reranking (SIGIR 1998).
    """
    if not len(scores):
        return np.empty(0, np.int64)
    units = unit_rows(vectors)
    scores64 = scores.astype(np.float64)
    spread = scores64[0] - scores64[-1]
    # If all scores are equal there is no scale: every item is as relevant, and only the cosines decide.
    relevance = (1 - diversity) * ((scores64 - scores64[-1]) / spread if spread > 0 else np.ones(len(scores64)))
    largest_cosines = np.full(len(scores64), -np.inf)
    positions = [0]
    for _ in range(min(k, len(scores64)) - 1):
        # Only the item chosen last can raise an item's largest cosine, so each round needs one product for each item.
        largest_cosines = np.maximum(largest_cosines, units @ units[positions[-1]])
        marginal_relevance = relevance - diversity * largest_cosines
        marginal_relevance[positions] = -np.inf
        positions.append(int(np.argmax(marginal_relevance)))
    return np.array(positions, np.int64)
