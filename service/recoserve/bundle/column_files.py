"""The two files of the columns, as docs/bundle-format.md has them, and everything that can be wrong with them."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve import strict_json
from recoserve.bundle import contract
from recoserve.bundle.columns import BOOLEAN, NUMBER, REASONS, STRING, Column, Columns, Plain, Texts
from recoserve.errors import BundleInvalid, MalformedJson

INTEGER = "integer"  # a number that is stored as int64
STORED = {INTEGER: "<i8", NUMBER: "<f8", BOOLEAN: "|u1"}
ALIGNED = 8
CHECKED = 1 << 20  # elements at a time

Shape = tuple[str, int]  # dtype, elements


def index(columns: Columns) -> bytes:
    """`columns.json`."""
    kept = [_described(name, column) for name, column in columns.by_name.items()]
    refused = [{"name": name, "reason": reason} for name, reason in columns.refused.items()]
    return (json.dumps(kept + refused, indent=1, ensure_ascii=False) + "\n").encode()


def _described(name: str, column: Column) -> dict[str, Any]:
    values = column.values
    size = {"bytes": len(values.utf8)} if isinstance(values, Texts) else {}
    kind = INTEGER if isinstance(values, Plain) and values.array.dtype == np.int64 else column.type
    return {"name": name, "type": kind, "values": len(values), "entries": len(column.rows), **size}


def data(columns: Columns) -> Iterator[bytes]:
    """`columns.bin`, array by array."""
    for column in columns.by_name.values():
        values = column.values
        own = [values.offsets, values.utf8] if isinstance(values, Texts) else [values.array]
        for each in [*own, column.offsets, column.rows]:
            body = each.astype(each.dtype.newbyteorder("<"), copy=False).tobytes()
            yield body + bytes(-len(body) % ALIGNED)


def parse(listed: bytes, stored: NDArray[np.uint8], items: int) -> Columns:
    """The columns of a catalogue of `items`, over the bytes of `columns.bin` (usually a memory map); raises BundleInvalid."""
    entries = _entries(listed)
    kept = [entry for entry in entries if "reason" not in entry]
    row_type = "<i4" if items < 2**31 else "<i8"
    shapes = [_shapes(entry, row_type) for entry in kept]
    size = sum(_bytes(shape) for each in shapes for shape in each)
    if size != len(stored):
        raise _wrong(contract.COLUMN_DATA, f"{len(stored)} bytes, but {contract.COLUMNS} makes it {size}")
    columns, start = {}, 0
    for entry, each in zip(kept, shapes, strict=True):
        arrays = []
        for shape in each:
            arrays.append(np.asarray(stored[start : start + _bytes(shape)]).view(shape[0])[: shape[1]])
            start += _bytes(shape)
        columns[entry["name"]] = _column(entry, arrays, items)
    return Columns(columns, {entry["name"]: entry["reason"] for entry in entries if "reason" in entry})


def _shapes(entry: dict[str, Any], row_type: str) -> list[Shape]:
    values, entries = entry["values"], entry["entries"]
    own = [("<i8", values + 1), ("|u1", entry["bytes"])] if entry["type"] == STRING else [(STORED[entry["type"]], values)]
    return [*own, ("<i8", values + 1), (row_type, entries)]


def _bytes(shape: Shape) -> int:
    """Of an array with its filling."""
    return -(-np.dtype(shape[0]).itemsize * shape[1] // ALIGNED) * ALIGNED


def _entries(listed: bytes) -> list[dict[str, Any]]:
    try:
        entries = strict_json.parse(listed)
    except MalformedJson as error:
        raise _wrong(contract.COLUMNS, str(error)) from None
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise _wrong(contract.COLUMNS, "must be a list of columns, each with its name, type and counts, or with a reason")
    if len({entry["name"] for entry in entries}) != len(entries):
        raise _wrong(contract.COLUMNS, "a column stands in it twice")
    return entries


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return False
    if set(entry) == {"name", "reason"}:
        return isinstance(entry["reason"], str) and entry["reason"] in REASONS
    kind, sizes = entry.get("type"), {"bytes"} if entry.get("type") == STRING else set()
    return (
        isinstance(kind, str)
        and kind in {STRING, *STORED}
        and set(entry) == {"name", "type", "values", "entries"} | sizes
        and all(type(entry[count]) is int for count in {"values", "entries"} | sizes)
        and 1 <= entry["values"] <= entry["entries"]
        and entry.get("bytes", 0) >= 0
    )


def _column(entry: dict[str, Any], arrays: list[NDArray[Any]], items: int) -> Column:
    *own, offsets, rows = arrays
    kind = NUMBER if entry["type"] == INTEGER else entry["type"]
    problem = (
        _wrong_offsets(offsets, len(rows), np.greater)
        or _wrong_rows(offsets, rows, items)
        or (_wrong_texts(*own) if kind == STRING else _wrong_values(own[0]))
    )
    if problem:
        raise _wrong(contract.COLUMN_DATA, f"column {entry['name']!r}: {problem}")
    values = Texts(*own) if kind == STRING else Plain(own[0].view(np.bool_) if kind == BOOLEAN else own[0])
    return Column(kind, values, offsets, rows)


def _wrong_offsets(offsets: NDArray[np.int64], last: int, rises: np.ufunc) -> str | None:
    fits = offsets[0] == 0 and offsets[-1] == last and _all_pairs(offsets, rises)
    return None if fits else "offsets must rise from 0 to the end of what they cut up"


def _wrong_rows(offsets: NDArray[np.int64], rows: NDArray[Any], items: int) -> str | None:
    """In range, and ascending but where another value begins."""
    for start in range(0, len(rows), CHECKED):
        piece = rows[max(start - 1, 0) : start + CHECKED]
        if piece.min() < 0 or piece.max() >= items:
            return f"a row is outside [0, {items - 1}]"
        falls = np.flatnonzero(piece[1:] <= piece[:-1]) + max(start - 1, 0) + 1
        if not (offsets[np.searchsorted(offsets, falls)] == falls).all():
            return "the rows of a value must ascend"
    return None


def _wrong_values(values: NDArray[Any]) -> str | None:
    if values.dtype == np.uint8 and values.max() > 1:
        return "a boolean must be 0 or 1"
    if not np.isfinite(values).all():
        return "a number is NaN or infinite"
    return None if _all_pairs(values, np.greater) else "values must ascend"


def _all_pairs(values: NDArray[Any], holds: np.ufunc) -> bool:
    """Whether it holds of every element and the one before it."""
    return all(
        holds(values[start + 1 : start + 1 + CHECKED], values[start : start + CHECKED][: len(values) - start - 1]).all()
        for start in range(0, len(values), CHECKED)
    )


def _wrong_texts(offsets: NDArray[np.int64], utf8: NDArray[np.uint8]) -> str | None:
    if problem := _wrong_offsets(offsets, len(utf8), np.greater_equal):
        return problem
    texts = Texts(offsets, utf8)
    try:
        before = texts[0]
        for place in range(1, len(texts)):
            text = texts[place]
            if text <= before:
                return "values must ascend"
            before = text
    except UnicodeDecodeError:
        return "a string is not UTF-8"
    return None


def _wrong(file: str, problem: str) -> BundleInvalid:
    return BundleInvalid([f"{file}: {problem}"])
