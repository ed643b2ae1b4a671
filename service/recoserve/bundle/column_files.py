"""Encodes and parses the columns' two files (docs/bundle-format.md), with every check that a lookup relies on."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recoserve import strict_json
from recoserve.bundle import contract
from recoserve.bundle.arrays import stored_row_type
from recoserve.bundle.columns import BOOLEAN, NUMBER, REASONS, STRING, Column, Columns, Scalars, Strings
from recoserve.errors import BundleInvalid, MalformedJson

INTEGER = "integer"  # a type of the file only: numbers that are stored as int64
STORED_TYPES = {INTEGER: "<i8", NUMBER: "<f8", BOOLEAN: "|u1"}
ALIGNMENT = 8
CHECKED_ELEMENTS = 1 << 20  # checked at a time, so that a check of a memory map needs little memory


class ArrayLayout(NamedTuple):
    """How one array lies in `columns.bin`."""

    dtype: str
    length: int

    @property
    def padded_bytes(self) -> int:
        """Bytes up to where the next array starts."""
        return -(-np.dtype(self.dtype).itemsize * self.length // ALIGNMENT) * ALIGNMENT


def encode_index(columns: Columns) -> bytes:
    """The bytes of `columns.json`."""
    entries = [_index_entry(name, column) for name, column in columns.by_name.items()]
    entries += [{"name": name, "reason": reason} for name, reason in columns.refused.items()]
    return (json.dumps(entries, indent=1, ensure_ascii=False) + "\n").encode()


def _index_entry(name: str, column: Column) -> dict[str, Any]:
    values = column.values
    size = {"bytes": len(values.utf8)} if isinstance(values, Strings) else {}
    stored_type = INTEGER if isinstance(values, Scalars) and values.array.dtype == np.int64 else column.type
    return {"name": name, "type": stored_type, "values": len(values), "entries": len(column.rows), **size}


def encode_data(columns: Columns) -> Iterator[bytes]:
    """The bytes of `columns.bin`, array by array."""
    for column in columns.by_name.values():
        values = column.values
        value_arrays = [values.offsets, values.utf8] if isinstance(values, Strings) else [values.array]
        for array in [*value_arrays, column.offsets, column.rows]:
            body = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            yield body + bytes(-len(body) % ALIGNMENT)


def parse(index: bytes, data: NDArray[np.uint8], item_count: int) -> Columns:
    """The columns of `item_count` items, over the bytes of `columns.bin`, usually a memory map; raises BundleInvalid."""
    entries = _parse_index(index)
    accepted_entries = [entry for entry in entries if "reason" not in entry]
    layouts = [array_layouts(entry, item_count) for entry in accepted_entries]
    size = sum(layout.padded_bytes for column_layouts in layouts for layout in column_layouts)
    # Compared before anything is sliced: the index may claim any number of elements, and a slice beyond the end would be short.
    if size != len(data):
        raise _invalid(contract.COLUMN_DATA, f"{len(data)} bytes, but {contract.COLUMNS} describes {size}")
    columns, start = {}, 0
    for entry, column_layouts in zip(accepted_entries, layouts, strict=True):
        arrays = []
        for layout in column_layouts:
            padded_array = np.asarray(data[start : start + layout.padded_bytes])
            arrays.append(padded_array.view(layout.dtype)[: layout.length])
            start += layout.padded_bytes
        columns[entry["name"]] = _checked_column(entry, arrays, item_count)
    return Columns(columns, {entry["name"]: entry["reason"] for entry in entries if "reason" in entry})


def array_layouts(entry: dict[str, Any], item_count: int) -> list[ArrayLayout]:
    """The arrays of one column, in the file's order, from its entry in `columns.json`."""
    value_count, entry_count = entry["values"], entry["entries"]
    if entry["type"] == STRING:
        value_layouts = [ArrayLayout("<i8", value_count + 1), ArrayLayout("|u1", entry["bytes"])]
    else:
        value_layouts = [ArrayLayout(STORED_TYPES[entry["type"]], value_count)]
    row_type = np.dtype(stored_row_type(item_count)).newbyteorder("<").str
    return [*value_layouts, ArrayLayout("<i8", value_count + 1), ArrayLayout(row_type, entry_count)]


def _parse_index(index: bytes) -> list[dict[str, Any]]:
    try:
        entries = strict_json.parse(index)
    except MalformedJson as error:
        raise _invalid(contract.COLUMNS, str(error)) from None
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise _invalid(contract.COLUMNS, "must be a list of columns, each with its name, type and counts, or with a reason")
    if len({entry["name"] for entry in entries}) != len(entries):
        raise _invalid(contract.COLUMNS, "lists a column twice")
    return entries


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return False
    if set(entry) == {"name", "reason"}:
        return isinstance(entry["reason"], str) and entry["reason"] in REASONS
    stored_type = entry.get("type")
    counts = {"values", "entries"} | ({"bytes"} if stored_type == STRING else set())
    return (
        isinstance(stored_type, str)
        and stored_type in {STRING, *STORED_TYPES}
        and set(entry) == {"name", "type"} | counts
        and all(type(entry[count]) is int for count in counts)
        and 1 <= entry["values"] <= entry["entries"]
        and entry.get("bytes", 0) >= 0
    )


def _checked_column(entry: dict[str, Any], arrays: list[NDArray[Any]], item_count: int) -> Column:
    """One column over its arrays; raises BundleInvalid where a lookup in them could find wrong rows or none.

    Digests show that a file is what was written, not that it was written rightly: another program may have made the bundle. A
    lookup is a binary search and a slice of a memory map, without a check of its own. So the values have to ascend, the offsets to
    rise, and the rows to be items, before the first lookup.
    """
    *value_arrays, offsets, rows = arrays
    column_type = NUMBER if entry["type"] == INTEGER else entry["type"]
    problem = (
        _offsets_problem(offsets, len(rows), np.greater)
        or _rows_problem(offsets, rows, item_count)
        or (_strings_problem(*value_arrays) if column_type == STRING else _scalars_problem(value_arrays[0]))
    )
    if problem:
        raise _invalid(contract.COLUMN_DATA, f"column {entry['name']!r}: {problem}")
    if column_type == STRING:
        return Column(column_type, Strings(*value_arrays), offsets, rows)
    (scalars,) = value_arrays
    return Column(column_type, Scalars(scalars.view(np.bool_) if column_type == BOOLEAN else scalars), offsets, rows)


def _offsets_problem(offsets: NDArray[np.int64], end: int, order: np.ufunc) -> str | None:
    valid = offsets[0] == 0 and offsets[-1] == end and _is_ordered(offsets, order)
    return None if valid else "offsets must rise from 0 to the length of the array that they divide"


def _rows_problem(offsets: NDArray[np.int64], rows: NDArray[Any], item_count: int) -> str | None:
    """A problem unless all rows are in range, and those of each value ascend."""
    for start in range(0, len(rows), CHECKED_ELEMENTS):
        first = max(start - 1, 0)  # with the last row before, so that no pair of neighbours is missed
        window = rows[first : start + CHECKED_ELEMENTS]
        if window.min() < 0 or window.max() >= item_count:
            return f"a row is outside [0, {item_count - 1}]"
        descents = np.flatnonzero(window[1:] <= window[:-1]) + first + 1
        # Rows may descend only where another value begins, which is where an offset points.
        if not (offsets[np.searchsorted(offsets, descents)] == descents).all():
            return "the rows of a value must ascend"
    return None


def _scalars_problem(values: NDArray[Any]) -> str | None:
    if values.dtype == np.uint8 and values.max() > 1:
        return "a boolean must be 0 or 1"
    if not np.isfinite(values).all():
        return "a number is NaN or infinite"
    return None if _is_ordered(values, np.greater) else "values must ascend"


def _strings_problem(offsets: NDArray[np.int64], utf8: NDArray[np.uint8]) -> str | None:
    if problem := _offsets_problem(offsets, len(utf8), np.greater_equal):
        return problem
    strings = Strings(offsets, utf8)
    try:
        previous = strings[0]
        for position in range(1, len(strings)):
            string = strings[position]
            if string <= previous:
                return "values must ascend"
            previous = string
    except UnicodeDecodeError:
        return "a string is not UTF-8"
    return None


def _is_ordered(values: NDArray[Any], order: np.ufunc) -> bool:
    """Whether `order` holds between every element and the one before it."""
    # The last element has no successor, so the last two slices are one shorter.
    return all(
        order(
            values[start + 1 : start + 1 + CHECKED_ELEMENTS], values[start : start + CHECKED_ELEMENTS][: len(values) - start - 1]
        ).all()
        for start in range(0, len(values), CHECKED_ELEMENTS)
    )


def _invalid(file: str, problem: str) -> BundleInvalid:
    return BundleInvalid([f"{file}: {problem}"])
