"""Item metadata by column, as an inverted index: for every value the rows that have it. A filter's condition is a slice of rows.

A column has one type: string, number or boolean. An item has one value of the column, several (a list) or none (null, an empty
list, no such member). Other members are served as metadata, but refused as columns to filter by.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Rows, StoredRows, offsets_of, stored_row_type

STRING, NUMBER, BOOLEAN = "string", "number", "boolean"
TYPES: Mapping[type, str] = {str: STRING, int: NUMBER, float: NUMBER, bool: BOOLEAN}
MIXED, NESTED, WIDE = "mixed", "nested", "wide"
REASONS = {
    MIXED: "its values are of more than one type",
    NESTED: "its values are objects, or lists within lists",
    WIDE: "64 bits don't hold its numbers exactly",
}


class Scalars:
    """Distinct numbers or booleans, ascending, over an array [values] of int64, float64 or bool."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, position: int) -> Any:
        # As a Python number: Python compares an int with a float exactly, NumPy would round a large int64 to float64 first.
        return self.array.item(position)


class Strings:
    """Distinct strings in code point order, over `offsets` int64 [values + 1] into their UTF-8, uint8 [bytes]."""

    def __init__(self, offsets: NDArray[np.int64], utf8: NDArray[np.uint8]) -> None:
        self.offsets, self.utf8 = offsets, utf8
        # A binary search reads single elements, which a memoryview gives several times faster than an array.
        self._offset_view, self._utf8_view = offsets.data, utf8.data

    @classmethod
    def encode(cls, strings: Sequence[str]) -> "Strings":
        """The values of `strings`, which must be distinct and ascending."""
        encoded = [string.encode() for string in strings]
        sizes = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return cls(offsets_of(sizes), np.frombuffer(b"".join(encoded), np.uint8))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, position: int) -> str:
        return str(self._utf8_view[self._offset_view[position] : self._offset_view[position + 1]], "utf-8")


@dataclass(frozen=True)
class Column:
    """One column: the items that have `values[i]` are `rows[offsets[i] : offsets[i + 1]]`, ascending; `offsets` int64 [values + 1].

    Values that are looked up must be of the column's `type`.
    """

    type: str
    values: Scalars | Strings
    offsets: NDArray[np.int64]
    rows: StoredRows

    def having(self, value: Any) -> StoredRows:
        """The rows of the items that have a value, ascending."""
        position = bisect_left(self.values, value)
        exists = position < len(self.values) and self.values[position] == value
        return self._slice(position, position + exists)

    def at_least(self, value: Any) -> StoredRows:
        """The rows of the items that have a value of at least this; an item's row comes once for each such value."""
        return self._slice(bisect_left(self.values, value), len(self.values))

    def at_most(self, value: Any) -> StoredRows:
        """The rows of the items that have a value of at most this; an item's row comes once for each such value."""
        return self._slice(0, bisect_right(self.values, value))

    def _slice(self, start: int, stop: int) -> StoredRows:
        return self.rows[self.offsets[start] : self.offsets[stop]]


@dataclass(frozen=True)
class Columns:
    """A bundle's columns by name; `refused` gives for each column that can't be filtered by the reason, a key of `REASONS`."""

    by_name: Mapping[str, Column]
    refused: Mapping[str, str]

    @classmethod
    def from_metadata(cls, metadata: Iterable[Mapping[str, Any]], item_count: int) -> "Columns":
        """The columns of the items' metadata: JSON objects in row order. A column without any value is left out.

        Memory: 16 bytes for each value of each item, and a dict of each column's distinct values.
        """
        builders: dict[str, _ColumnBuilder] = {}
        for row, members in enumerate(metadata):
            for name, value in members.items():
                if name not in builders:
                    builders[name] = _ColumnBuilder()
                builders[name].add(row, value)
        by_name, refused = {}, {}
        for name in list(builders):
            builder = builders.pop(name)  # a builder is freed before the next column is built
            if reason := builder.reason_to_refuse():
                refused[name] = reason
            elif builder.types:
                by_name[name] = builder.build(stored_row_type(item_count))
        return cls(by_name, refused)


class _ColumnBuilder:
    """Collects one column while metadata is read: for each value of each item, the item's row and the value's code.

    A code is a value's position in the order of first appearance. Once the column is refused, nothing more is collected.
    """

    def __init__(self) -> None:
        self.types: set[str] = set()
        self._code_of: dict[Any, int] = {}
        self._codes, self._rows = array("q"), array("q")  # not lists: 8 bytes an element, no objects

    def add(self, row: int, cell: Any) -> None:
        for value in cell if isinstance(cell, list) else (cell,):
            if value is not None:
                self.types.add(TYPES.get(type(value), NESTED))
                if len(self.types) == 1 and NESTED not in self.types:
                    self._codes.append(self._code_of.setdefault(value, len(self._code_of)))
                    self._rows.append(row)

    def reason_to_refuse(self) -> str | None:
        """A key of `REASONS` where the values can't be a column."""
        if NESTED in self.types:
            return NESTED
        if len(self.types) > 1:
            return MIXED
        return WIDE if NUMBER in self.types and _number_type(list(self._code_of)) is None else None

    def build(self, row_type: type[np.integer[Any]]) -> Column:
        (column_type,) = self.types
        ascending = sorted(self._code_of)
        ranks, rows = self._sorted_by_value(ascending)
        counts = np.bincount(ranks, minlength=len(ascending))
        return Column(column_type, _encode(column_type, ascending), offsets_of(counts), rows.astype(row_type))

    def _sorted_by_value(self, ascending: Sequence[Any]) -> tuple[NDArray[np.int64], Rows]:
        """The rank of each collected value among `ascending` and its row, ordered by both, duplicates removed."""
        rank_of_code = np.empty(len(ascending), np.int64)
        codes = np.fromiter(map(self._code_of.__getitem__, ascending), np.int64, len(ascending))
        rank_of_code[codes] = np.arange(len(ascending))
        ranks, rows = rank_of_code[np.frombuffer(self._codes, np.int64)], np.frombuffer(self._rows, np.int64)
        order = np.argsort(ranks, kind="stable")  # rows were collected in ascending order; a stable sort keeps it within a value
        ranks, rows = ranks[order], rows[order]
        first = np.concatenate([[True], (ranks[1:] != ranks[:-1]) | (rows[1:] != rows[:-1])])
        return ranks[first], rows[first]


def _encode(column_type: str, ascending: Sequence[Any]) -> Scalars | Strings:
    if column_type == STRING:
        return Strings.encode(ascending)
    return Scalars(np.array(ascending, np.bool_ if column_type == BOOLEAN else _number_type(ascending)))


def _number_type(numbers: Sequence[Any]) -> type[np.int64] | type[np.float64] | None:
    """The type that holds every number exactly, or None: if numbers were rounded, a filter would match items of other numbers."""
    if all(isinstance(number, int) for number in numbers) and min(numbers) >= -(2**63) and max(numbers) < 2**63:
        return np.int64
    return np.float64 if all(map(_is_float64, numbers)) else None


def _is_float64(number: float) -> bool:
    try:
        return abs(float(number)) < float("inf") and float(number) == number
    except OverflowError:
        return False
