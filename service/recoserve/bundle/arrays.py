"""The array types that all packages share, and the types and offsets of arrays that a bundle stores."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]  # row numbers of users or of items
StoredRows = NDArray[np.integer[Any]]  # row numbers as a bundle stores them, of `stored_row_type`
Float32Array = NDArray[np.float32]  # vectors, products, scores
Float64Array = NDArray[np.float64]  # the same in double precision, where rounding must not count


def stored_row_type(row_count: int) -> type[np.int32] | type[np.int64]:
    """The narrowest type that a bundle stores row numbers in: int32 below 2^31 rows."""
    return np.int32 if row_count < 2**31 else np.int64


def offsets_of(counts: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Where each run of elements starts when `counts` [n] runs lie one after the other, and where the last ends: int64 [n + 1]."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
