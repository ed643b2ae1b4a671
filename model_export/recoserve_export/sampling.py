"""Samples of rows and pairs to compare if there are too many to compare all: seeded, always with the first and the last."""

import numpy as np

from recoserve.bundle.arrays import Rows

SAMPLED_PAIRS = 4096
MANY_PAIRS = 2_000_000  # up to this number all pairs are compared
SAMPLED_USERS = 64  # for whom all items are ranked, if there are MANY_PAIRS


def sample_rows(row_count: int, size: int, seed: int) -> Rows:
    """`size` (2 or more) distinct rows of `row_count`, or all if there are no more: ascending, with the first and the last row."""
    if size >= row_count:
        return np.arange(row_count)
    rng = np.random.default_rng(seed)
    inner = rng.choice(row_count - 2, size - 2, replace=False) + 1 if size > 2 else np.zeros(0, np.int64)
    return np.unique(np.concatenate([inner, [0, row_count - 1]])).astype(np.int64)


def sample_pairs(user_count: int, item_count: int) -> tuple[Rows, Rows]:
    """The user rows and the item rows of SAMPLED_PAIRS distinct pairs, or of all pairs if there are no more."""
    user_rows, item_rows = np.divmod(sample_rows(user_count * item_count, SAMPLED_PAIRS, seed=2), item_count)
    return user_rows, item_rows
