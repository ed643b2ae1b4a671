"""Maximal marginal relevance: a ranking that weighs an item's score against its likeness to the items before it."""

import numpy as np

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.search.vectors import unit_rows

MIN_POOL, POOL_PER_ITEM = 100, 4  # of the best items, from which a diverse ranking is chosen


def pool_size(k: int) -> int:
    """How many of the best items a diverse ranking of k is chosen from."""
    return max(POOL_PER_ITEM * k, MIN_POOL)


def diverse_positions(scores: Float32Array, vectors: Float32Array, k: int, diversity: float) -> Rows:
    """Where k items stand that score well and are unlike each other, in the order chosen: int64 [min(k, n)].

    `scores` float32 [n], best first, `vectors` float32 [n, d] of the same items, `diversity` in [0, 1]. The best item is chosen
    first; then, again and again, the item with the largest (1 - diversity) r - diversity c, where r is its score on a scale from 0
    (the lowest of the n) to 1 (the best), and c its largest cosine to a chosen item (0 for a vector of zeros). Of equal items the
    first is chosen. Source: Carbonell and Goldstein, The use of MMR, diversity-based reranking (SIGIR 1998).
    """
    if not len(scores):
        return np.empty(0, np.int64)
    units = unit_rows(vectors)
    scores64 = scores.astype(np.float64)
    spread = scores64[0] - scores64[-1]
    # Where all scores are equal there is no scale, and the cosines alone decide.
    relevance = (1 - diversity) * ((scores64 - scores64[-1]) / spread if spread > 0 else np.ones(len(scores64)))
    largest_cosines = np.full(len(scores64), -np.inf)
    chosen = [0]
    for _ in range(min(k, len(scores64)) - 1):
        # Only the last choice can raise a maximum: one product each, not one for every pair of chosen items.
        largest_cosines = np.maximum(largest_cosines, units @ units[chosen[-1]])
        marginal = relevance - diversity * largest_cosines
        marginal[chosen] = -np.inf
        chosen.append(int(np.argmax(marginal)))
    return np.array(chosen, np.int64)
