"""Which items each user has already interacted with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import BundleInvalid


class Interactions:
    """Which items each user has already seen, as compressed rows.

    `offsets` int64 [U + 1] and `items` int32 or int64 [pairs]: user u has seen `items[offsets[u] : offsets[u + 1]]`,
    ascending, no item twice. Raises BundleInvalid where the arrays don't fit together or name an item outside the catalogue.
    """

    def __init__(self, offsets: NDArray[np.int64], items: NDArray[np.integer[Any]], item_count: int) -> None:
        if offsets.ndim != 1 or items.ndim != 1 or offsets.dtype != np.int64 or items.dtype not in (np.int32, np.int64):
            raise BundleInvalid(["seen pairs: offsets must be int64 and items int32 or int64, of one dimension each"])
        fits = len(offsets) > 1 and offsets[0] == 0 and offsets[-1] == len(items) and bool(np.all(offsets[1:] >= offsets[:-1]))
        if not fits:
            raise BundleInvalid(["seen pairs: offsets must rise from 0 to the number of pairs"])
        if len(items) and not (items.min() >= 0 and items.max() < item_count):
            raise BundleInvalid([f"seen pairs: an item is outside [0, {item_count - 1}]"])
        self._offsets, self._items = offsets, items

    @classmethod
    def from_pairs(cls, users: NDArray[np.int64], items: NDArray[np.int64], user_count: int, item_count: int) -> "Interactions":
        """Compress (user row, item row) pairs in any order, with or without duplicates."""
        keys = np.unique(users * item_count + items)
        counts = np.bincount(keys // item_count, minlength=user_count)
        narrow = np.int32 if item_count < 2**31 else np.int64
        return cls(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), (keys % item_count).astype(narrow), item_count)

    @property
    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.integer[Any]]]:
        """`offsets` and `items`, as they are stored."""
        return self._offsets, self._items

    def __len__(self) -> int:
        return len(self._items)

    @property
    def users(self) -> int:
        return len(self._offsets) - 1

    def of(self, user_row: int) -> NDArray[np.int64]:
        """The rows of the items that one user has seen, ascending."""
        return self._items[self._offsets[user_row] : self._offsets[user_row + 1]].astype(np.int64)
