"""Which rows and pairs are looked at where not all of them can be: seeded, the first and the last among them."""

import numpy as np

from recoserve.bundle.arrays import Rows

PAIRS = 4096
MANY_PAIRS = 2_000_000  # fewer are all compared
USERS = 64  # ranked over the whole catalogue, where not all can be


def sample_rows(count: int, size: int, seed: int) -> Rows:
    """`size` distinct rows of `count` (all of them where there are no more), ascending, the first and the last among them."""
    if size >= count:
        return np.arange(count)
    inner = np.random.default_rng(seed).choice(count - 2, size - 2, replace=False) + 1 if size > 2 else np.zeros(0, np.int64)
    return np.unique(np.concatenate([inner, [0, count - 1]])).astype(np.int64)


def sample_pairs(users: int, items: int) -> tuple[Rows, Rows]:
    """Up to `PAIRS` distinct pairs, the corners of the matrix among them; every pair where there are no more."""
    return tuple(np.divmod(sample_rows(users * items, PAIRS, seed=2), items))  # type: ignore[return-value]
