"""The items that each user has interacted with."""

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Rows, StoredRows, offsets_of, stored_row_type
from recoserve.errors import BundleInvalid


class Interactions:
    """The items that each user has interacted with, as a compressed sparse row (CSR) matrix without values.

    `offsets` int64 [U + 1] and `items` int32 or int64 [interactions]: the items of user u are
    `items[offsets[u] : offsets[u + 1]]`, ascending, no item twice. Raises BundleInvalid where the arrays don't fit together or an
    item is not one of `item_count`.
    """

    def __init__(self, offsets: NDArray[np.int64], items: StoredRows, item_count: int) -> None:
        if offsets.ndim != 1 or items.ndim != 1 or offsets.dtype != np.int64 or items.dtype not in (np.int32, np.int64):
            raise BundleInvalid(["interactions: offsets must be int64 and items int32 or int64, of one dimension each"])
        rising = len(offsets) > 1 and offsets[0] == 0 and offsets[-1] == len(items) and bool(np.all(offsets[1:] >= offsets[:-1]))
        if not rising:
            raise BundleInvalid(["interactions: offsets must rise from 0 to the number of interactions"])
        if len(items) and not (items.min() >= 0 and items.max() < item_count):
            raise BundleInvalid([f"interactions: an item is outside [0, {item_count - 1}]"])
        self._offsets, self._items = offsets, items

    @classmethod
    def from_pairs(cls, users: Rows, items: Rows, user_count: int, item_count: int) -> "Interactions":
        """The interactions of (user row, item row) pairs, int64 [n] each, in any order; duplicates count once."""
        keys = np.unique(users * item_count + items)
        counts = np.bincount(keys // item_count, minlength=user_count)
        return cls(offsets_of(counts), (keys % item_count).astype(stored_row_type(item_count)), item_count)

    @property
    def arrays(self) -> tuple[NDArray[np.int64], StoredRows]:
        """`offsets` and `items`, as a bundle stores them."""
        return self._offsets, self._items

    def __len__(self) -> int:
        return len(self._items)

    @property
    def user_count(self) -> int:
        """How many users the matrix has rows for."""
        return len(self._offsets) - 1

    def of(self, user_row: int) -> Rows:
        """The rows of one user's items, ascending."""
        return self._items[self._offsets[user_row] : self._offsets[user_row + 1]].astype(np.int64)
