"""Which rows and pairs are compared where not all can be: drawn by a fixed seed, the first and the last always among them."""

import numpy as np

from recoserve.bundle.arrays import Rows

PAIRS = 4096
MANY_PAIRS = 2_000_000  # up to here all pairs are compared
USERS = 64  # ranked over the whole catalogue, where not all can be


def sample_rows(count: int, size: int, seed: int) -> Rows:
    """`size` distinct rows of `count`, or all where there are no more; ascending, the first and the last among them."""
    if size >= count:
        return np.arange(count)
    inner = np.random.default_rng(seed).choice(count - 2, size - 2, replace=False) + 1 if size > 2 else np.zeros(0, np.int64)
    return np.unique(np.concatenate([inner, [0, count - 1]])).astype(np.int64)


def sample_pairs(users: int, items: int) -> tuple[Rows, Rows]:
    """User rows and item rows of up to `PAIRS` distinct pairs, or of every pair; the first and the last pair among them."""
    return tuple(np.divmod(sample_rows(users * items, PAIRS, seed=2), items))  # type: ignore[return-value]
