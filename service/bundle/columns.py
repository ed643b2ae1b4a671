"""Item metadata by column: for every value the rows that have it, so that a filter's clause is a slice.

Two files. `columns.json` lists the columns in order: name, type (string, integer, number, boolean), how many distinct `values`,
`entries` (pairs of a value and an item) and, for strings, `bytes`. `columns.bin` holds each column's arrays one after another,
little-endian, each filled up with zeros to 8 bytes: the values ascending (int64, float64, uint8, or int64 offsets [values + 1]
and UTF-8), int64 offsets [values + 1] into the rows, and the rows, int32 (int64 from 2^31 items on), ascending for each value.
A column that no filter can use has a `reason` in place of counts.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.integer[Any]]


class Values(Protocol):
    """A column's distinct values, ascending, as Python has them: numbers of both kinds compare exactly."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int) -> Any: ...


class Plain:
    """Numbers or booleans, over an array [values]."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, place: int) -> Any:
        return self._array.item(place)


class Texts:
    """Strings in code point order, over `offsets` int64 [values + 1] and their UTF-8, uint8."""

    def __init__(self, offsets: NDArray[np.int64], utf8: NDArray[np.uint8]) -> None:
        self._offsets, self._utf8 = offsets, utf8

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, place: int) -> str:
        return self._utf8[self._offsets[place] : self._offsets[place + 1]].tobytes().decode()


@dataclass(frozen=True)
class Column:
    """One column: `offsets` int64 [values + 1] into `rows`. Wanted values are of the column's type (string, number, boolean)."""

    type: str
    values: Values
    offsets: NDArray[np.int64]
    rows: Rows

    def having(self, value: Any) -> Rows:
        """The rows of the items that have a value, ascending."""
        place = bisect_left(self.values, value)
        found = place < len(self.values) and self.values[place] == value
        return self._slice(place, place + found)

    def at_least(self, value: Any) -> Rows:
        """The rows of the items that have a value of at least this; an item stands once for each of its values."""
        return self._slice(bisect_left(self.values, value), len(self.values))

    def at_most(self, value: Any) -> Rows:
        """The rows of the items that have a value of at most this; an item stands once for each of its values."""
        return self._slice(0, bisect_right(self.values, value))

    def _slice(self, start: int, stop: int) -> Rows:
        return self.rows[self.offsets[start] : self.offsets[stop]]


@dataclass(frozen=True)
class Columns:
    """All columns of a bundle by name; `refused` has those that can't be filtered, and why."""

    items: int
    by_name: Mapping[str, Column]
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> Sequence[str]:
        return tuple(self.by_name)
