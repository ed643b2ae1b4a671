"""Makes the masks of filters from a bundle's item columns, and keeps them for further requests with the same filter."""

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
    """The masks of filters over one bundle's items: keeps those used last, up to `max_bytes`. May be called from any thread."""

    def __init__(self, columns: Columns | None, item_count: int, max_bytes: int = CACHE_BYTES) -> None:
        self._columns = columns.by_name if columns else {}
        self._item_count = item_count
        self._masks: OrderedDict[frozenset[Condition], Mask] = OrderedDict()
        self._lock = threading.Lock()
        self._free_bytes = max_bytes

    def mask(self, conditions: Sequence[Condition]) -> Mask:
        """The mask of the items that meet all `conditions`: of every item where there are none."""
        key = frozenset(conditions)
        with self._lock:
            if mask := self._masks.get(key):
                self._masks.move_to_end(key)
                return mask
        # Outside the lock, so that a slow filter doesn't delay others; the price is that two threads may make the same mask.
        mask = self._compute(conditions[0]) if len(conditions) == 1 else self._join(conditions)
        with self._lock:
            self._insert(key, mask)
        return mask

    def _join(self, conditions: Sequence[Condition]) -> Mask:
        """The mask of several conditions, or none, from the mask of each, which is cached too: other filters may share it."""
        if not conditions:
            return Mask.of_rows(np.arange(self._item_count), self._item_count)
        return reduce(and_, (self.mask((condition,)) for condition in conditions))

    def _compute(self, condition: Condition) -> Mask:
        """The mask of one condition, from its column."""
        column = self._columns[condition.column]
        if condition.operator == "all":
            return self._having_all(column, condition.values)
        slices = list(_row_slices(column, condition))
        mask = Mask.of_rows(np.concatenate(slices) if len(slices) > 1 else slices[0], self._item_count)
        return mask.inverted(self._item_count) if condition.operator == "none" else mask

    def _having_all(self, column: Column, values: Sequence[Any]) -> Mask:
        """The mask of the items that have all `values`, from the rarest value on, until no item is left."""
        slices = sorted((column.having(value) for value in values), key=len)
        mask = Mask.of_rows(slices[0], self._item_count)
        for rows in slices[1:]:
            if not mask.count:
                break
            mask &= Mask.of_rows(rows, self._item_count)
        return mask

    def _insert(self, key: frozenset[Condition], mask: Mask) -> None:
        """Add a mask, and drop those used longest ago until the rest fits: this one too, if it is larger than the cache."""
        if key in self._masks:  # another thread was faster, and its bytes are counted
            return
        self._masks[key] = mask
        self._free_bytes -= _entry_bytes(key, mask)
        while self._free_bytes < 0:
            self._free_bytes += _entry_bytes(*self._masks.popitem(last=False))


def _row_slices(column: Column, condition: Condition) -> Iterable[NDArray[np.integer[Any]]]:
    """The rows of the items that have one of the condition's values, or one in its range."""
    if condition.operator == "gte":
        return [column.at_least(condition.values[0])]
    if condition.operator == "lte":
        return [column.at_most(condition.values[0])]
    return map(column.having, condition.values)


def _entry_bytes(key: frozenset[Condition], mask: Mask) -> int:
    """The bytes that a cache entry takes, its values included: a request may send strings and numbers of any length."""
    value_bytes = sum(getsizeof(condition.values) + sum(map(getsizeof, condition.values)) for condition in key)
    return mask.bits.nbytes + ENTRY_BYTES + value_bytes
