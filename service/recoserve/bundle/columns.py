"""Item metadata by column: for every value the rows that have it, so that a filter's clause is a slice of rows.

A column has one type, string, number or boolean; an item has one of its values, several (a list) or none (null, an empty list).
Metadata that is something else stays metadata, and is refused as a column.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRING, NUMBER, BOOLEAN = "string", "number", "boolean"
TYPES: Mapping[type, str] = {str: STRING, int: NUMBER, float: NUMBER, bool: BOOLEAN}
MIXED, NESTED, WIDE = "mixed", "nested", "wide"
REASONS = {
    MIXED: "its values are of more than one type",
    NESTED: "its values are objects, or lists within lists",
    WIDE: "64 bits don't hold its numbers exactly",
}

IntegerArray = NDArray[np.integer[Any]]


class Plain:
    """Distinct numbers or booleans, ascending, over an array [values]: int64, float64 or bool; Python compares them exactly."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, place: int) -> Any:
        return self.array.item(place)


class Texts:
    """Distinct strings in code point order, over `offsets` int64 [values + 1] and their UTF-8, uint8 [bytes]."""

    def __init__(self, offsets: NDArray[np.int64], utf8: NDArray[np.uint8]) -> None:
        self.offsets, self.utf8 = offsets, utf8
        self._ends, self._bytes = offsets.data, utf8.data  # their elements come several times faster than an array's

    @classmethod
    def of(cls, strings: Sequence[str]) -> "Texts":
        """Strings, as they are stored."""
        encoded = [each.encode() for each in strings]
        return cls(_offsets(np.fromiter(map(len, encoded), np.int64, len(encoded))), np.frombuffer(b"".join(encoded), np.uint8))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, place: int) -> str:
        return str(self._bytes[self._ends[place] : self._ends[place + 1]], "utf-8")


@dataclass(frozen=True)
class Column:
    """One column: the items that have value i are `rows[offsets[i] : offsets[i + 1]]`, ascending; `offsets` int64 [values + 1].

    What is asked for must be of the column's type.
    """

    type: str
    values: Plain | Texts
    offsets: NDArray[np.int64]
    rows: IntegerArray

    def having(self, value: Any) -> IntegerArray:
        """The rows of the items that have a value, ascending."""
        place = bisect_left(self.values, value)
        found = place < len(self.values) and self.values[place] == value
        return self._slice(place, place + found)

    def at_least(self, value: Any) -> IntegerArray:
        """The rows of the items that have a value of at least this; an item stands once for each of its values."""
        return self._slice(bisect_left(self.values, value), len(self.values))

    def at_most(self, value: Any) -> IntegerArray:
        """The rows of the items that have a value of at most this; an item stands once for each of its values."""
        return self._slice(0, bisect_right(self.values, value))

    def _slice(self, start: int, stop: int) -> IntegerArray:
        return self.rows[self.offsets[start] : self.offsets[stop]]


@dataclass(frozen=True)
class Columns:
    """The columns of a catalogue by name; `refused` has those that can't be filtered, and the key of `REASONS` why."""

    by_name: Mapping[str, Column]
    refused: Mapping[str, str]

    @classmethod
    def of(cls, metadata: Iterable[Mapping[str, Any]], items: int) -> "Columns":
        """Turn rows of `items` items, each as JSON has it, into columns; one without any value is left out.

        What is held meanwhile is 16 bytes for each entry and a dict of each column's distinct values.
        """
        cells: dict[str, _Cells] = {}
        for row, entry in enumerate(metadata):
            for name, value in entry.items():
                if name not in cells:
                    cells[name] = _Cells()
                cells[name].add(row, value)
        narrow = np.int32 if items < 2**31 else np.int64
        made = {name: each for name in list(cells) if (each := cells.pop(name).column(narrow))}
        columns = {name: each for name, each in made.items() if isinstance(each, Column)}
        return cls(columns, {name: each for name, each in made.items() if isinstance(each, str)})


class _Cells:
    """What one column holds, while rows are read: for each entry its item's row and its value's place in `codes`."""

    def __init__(self) -> None:
        self.types: set[str] = set()
        self.codes: dict[Any, int] = {}
        self.places, self.rows = array("q"), array("q")

    def add(self, row: int, value: Any) -> None:
        for each in value if isinstance(value, list) else (value,):
            if each is not None:
                self.types.add(TYPES.get(type(each), NESTED))
                if len(self.types) == 1 and NESTED not in self.types:
                    self.places.append(self.codes.setdefault(each, len(self.codes)))
                    self.rows.append(row)

    def column(self, row_type: type[np.integer[Any]]) -> Column | str | None:
        """The column, or the reason why it is none; None where it has no value."""
        if not self.types:
            return None
        if NESTED in self.types or len(self.types) > 1:
            return NESTED if NESTED in self.types else MIXED
        ascending = sorted(self.codes)
        (kind,) = self.types
        values = _values(kind, ascending)
        if values is None:
            return WIDE
        ranks, rows = self._by_value(ascending)
        counts = np.bincount(ranks, minlength=len(ascending))
        return Column(kind, values, _offsets(counts), rows.astype(row_type))

    def _by_value(self, ascending: Sequence[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rank of each entry's value and its row, in order, none twice."""
        rank = np.empty(len(ascending), np.int64)
        rank[np.fromiter(map(self.codes.__getitem__, ascending), np.int64, len(ascending))] = np.arange(len(ascending))
        ranks, rows = rank[np.frombuffer(self.places, np.int64)], np.frombuffer(self.rows, np.int64)
        order = np.argsort(ranks, kind="stable")
        ranks, rows = ranks[order], rows[order]
        first = np.concatenate([[True], (ranks[1:] != ranks[:-1]) | (rows[1:] != rows[:-1])])
        return ranks[first], rows[first]


def _values(kind: str, ascending: Sequence[Any]) -> Plain | Texts | None:
    """The distinct values as they are stored; None where that would change a number."""
    if kind == STRING:
        return Texts.of(ascending)
    if kind == BOOLEAN:
        return Plain(np.array(ascending, np.bool_))
    if all(isinstance(each, int) for each in ascending) and ascending[0] >= -(2**63) and ascending[-1] < 2**63:
        return Plain(np.array(ascending, np.int64))
    return Plain(np.array(ascending, np.float64)) if all(map(_exact, ascending)) else None


def _exact(number: float) -> bool:
    try:
        return abs(float(number)) < float("inf") and float(number) == number
    except OverflowError:
        return False


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
