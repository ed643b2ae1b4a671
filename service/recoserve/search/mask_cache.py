"""The masks of filters, made from a bundle's item columns and kept for the next request with the same filter."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import and_
from sys import getsizeof
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.columns import Column, Columns
from recoserve.search.filters import Condition
from recoserve.search.mask import Mask

CACHE_BYTES = 64 << 20
ENTRY_BYTES = 1024  # what an entry of the cache costs beside its mask and its values


class MaskCache:
    """The masks of filters over one bundle's items; the last used stay, up to `max_bytes`. May be called from any thread."""

    def __init__(self, columns: Columns | None, items: int, max_bytes: int = CACHE_BYTES) -> None:
        self._columns = columns.by_name if columns else {}
        self._items = items
        self._masks: OrderedDict[frozenset[Condition], Mask] = OrderedDict()
        self._lock = threading.Lock()
        self._free_bytes = max_bytes

    def mask(self, conditions: Sequence[Condition]) -> Mask:
        """The items that meet all `conditions`: every item where there are none."""
        key = frozenset(conditions)
        with self._lock:
            if mask := self._masks.get(key):
                self._masks.move_to_end(key)
                return mask
        # Outside the lock: a slow filter holds up no other, at the price that two threads may make the same mask.
        mask = self._computed(conditions[0]) if len(conditions) == 1 else self._joined(conditions)
        with self._lock:
            self._insert(key, mask)
        return mask

    def _joined(self, conditions: Sequence[Condition]) -> Mask:
        """The items that meet every condition, from the mask of each, which other filters may have in common."""
        if not conditions:
            return Mask.of_rows(np.arange(self._items), self._items)
        return reduce(and_, (self.mask((condition,)) for condition in conditions))

    def _computed(self, condition: Condition) -> Mask:
        column = self._columns[condition.column]
        if condition.operator == "all":
            return self._having_all(column, condition.values)
        slices = list(_row_slices(column, condition))
        mask = Mask.of_rows(np.concatenate(slices) if len(slices) > 1 else slices[0], self._items)
        return mask.inverted(self._items) if condition.operator == "none" else mask

    def _having_all(self, column: Column, values: Sequence[Any]) -> Mask:
        """From the rarest value on, as long as an item is left."""
        slices = sorted((column.having(value) for value in values), key=len)
        mask = Mask.of_rows(slices[0], self._items)
        for rows in slices[1:]:
            if not mask.count:
                break
            mask &= Mask.of_rows(rows, self._items)
        return mask

    def _insert(self, key: frozenset[Condition], mask: Mask) -> None:
        """Keep a mask, and drop those used longest ago that there is no room for: at the worst, this one."""
        if key in self._masks:  # another thread was faster, and its bytes are counted
            return
        self._masks[key] = mask
        self._free_bytes -= _size(key, mask)
        while self._free_bytes < 0:
            self._free_bytes += _size(*self._masks.popitem(last=False))


def _row_slices(column: Column, condition: Condition) -> Iterable[NDArray[np.integer[Any]]]:
    """The rows of the items that have one of the condition's values, or one in its range."""
    if condition.operator == "gte":
        return [column.at_least(condition.values[0])]
    if condition.operator == "lte":
        return [column.at_most(condition.values[0])]
    return map(column.having, condition.values)


def _size(key: frozenset[Condition], mask: Mask) -> int:
    """Bytes of a cache entry. The values count as well: a request may send strings and numbers of any length."""
    values = sum(getsizeof(condition.values) + sum(map(getsizeof, condition.values)) for condition in key)
    return mask.bits.nbytes + ENTRY_BYTES + values
