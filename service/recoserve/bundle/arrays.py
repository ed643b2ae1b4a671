"""The array types that every room shares."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]  # row numbers of users or of items
Float32Array = NDArray[np.float32]  # vectors, products, scores
Float64Array = NDArray[np.float64]  # the same in the precision that they are checked in
