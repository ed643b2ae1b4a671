"""Reads the values of a feature, one for each item, from a file, a column of a CSV file, a list or an array; and names of rows."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import ExportRefused
from recoserve_export.inputs.csv_file import (
    ITEM_KEY_COLUMNS,
    NAME_SEPARATOR,
    find_column,
    ids_and_cells,
    is_integer,
    is_number,
    read_nonempty_file,
)
from recoserve_export.inputs.ids import SideIds
from recoserve_export.inputs.list_file import read_array, read_json, read_text

PathOrValues = str | Path | Sequence[Any] | NDArray[Any]
FeatureValues = NDArray[Any] | list[str]  # numbers [items] or [items, …]; or a text for each item
SUFFIXES = ".npy, .csv, .txt or .json"


def read_values(feature: str, values: PathOrValues, items: SideIds) -> tuple[str, FeatureValues]:
    """What messages call the source of the values, and the values in row order, from FILE, FILE:COLUMN, a list or an array.

    Raises ExportRefused for values that can't be read, and where an item has none.
    """
    if not isinstance(values, str | Path):
        source = f"the values of {feature!r}"
        return source, _one_per_item(source, _from_python(source, values), items)
    path, column = _path_and_column(str(values))
    if path.suffix == ".csv":
        return _from_csv(feature, path, column, items)
    if column is not None:
        raise ExportRefused(f"{path}: only a .csv file has columns; --item-feature {feature}={path} takes all of it")
    return path.name, _one_per_item(path.name, _from_list_file(path), items)


def read_names(feature: str, names: str | Path | Sequence[Any]) -> list[str]:
    """The names of a feature's rows in row order, from a file or a list; several may be empty, but no other name may repeat.

    Raises ExportRefused for a name that repeats and for what can't be read.
    """
    entries = _names_from_file(Path(names)) if isinstance(names, str | Path) else names
    if not isinstance(entries, Sequence) and not hasattr(entries, "__array__"):
        raise ExportRefused(f"the names of {feature!r} must be a file or a list in row order, not {type(entries).__name__}")
    texts = [str(name) for name in entries]
    repeated = next((name for name, times in Counter(texts).items() if name and times > 1), None)
    if repeated is not None:
        raise ExportRefused(f"the names of {feature!r}: {repeated!r} stands twice; give each row a name of its own, in row order")
    return texts


def _names_from_file(path: Path) -> list[Any]:
    if path.suffix == ".json":
        return read_json(path, "names")
    if path.suffix == ".txt":
        return list(read_text(path))
    raise ExportRefused(f"{path}: give the names, in row order, in a .txt file, one on each line, or as a .json list")


def as_numbers(texts: Sequence[str]) -> NDArray[Any] | None:
    """The texts as int64 if all of them are integers, as float64 if all are numbers; None if one isn't."""
    if all(is_integer(text) for text in texts):
        return np.array([int(text) for text in texts], np.int64)
    if all(is_number(text) for text in texts):
        return np.array([float(text) for text in texts], np.float64)
    return None


def names_in_cell(cell: str) -> list[str]:
    """The names that a cell lists; a cell that lists none, such as a bare separator, is itself the one name."""
    return [name for entry in cell.split(NAME_SEPARATOR) if (name := entry.strip())] or [cell]


def _path_and_column(text: str) -> tuple[Path, str | None]:
    """The path and, of FILE:COLUMN, the column; a colon in a file's own name or behind a drive letter (`C:\\`) splits nothing."""
    head, colon, column = text.rpartition(":")
    is_drive = len(head) == 1 and head.isalpha()
    return (Path(head), column) if colon and head and not is_drive and not Path(text).is_file() else (Path(text), None)


def _from_list_file(path: Path) -> FeatureValues:
    if path.suffix == ".npy":
        return _from_python(str(path), read_array(path, "numbers or names"))
    if path.suffix == ".json":
        return _from_python(str(path), read_json(path, "values"))
    if path.suffix == ".txt":
        return list(read_text(path))
    raise ExportRefused(f"{path}: give a feature's values in a {SUFFIXES} file")


def _from_csv(feature: str, path: Path, column: str | None, items: SideIds) -> tuple[str, list[str]]:
    """What messages call the column, and its cells in row order, joined on the external id."""
    lines = read_nonempty_file(path)
    header = next(lines).cells
    id_column = find_column(header, ITEM_KEY_COLUMNS) or 0
    position = _value_column(feature, path, header, id_column, column)
    cell_by_row = {
        row: cells[position]
        for text, cells in ids_and_cells(path, header, id_column, lines)
        if (row := items.row_of(text)) is not None
    }
    source = f"{path.name}, column {header[position]}"
    return source, _check_filled(source, [cell_by_row.get(row, "") for row in range(items.count)], items)


def _value_column(feature: str, path: Path, header: Sequence[str], id_column: int, column: str | None) -> int:
    """The position of `column`; if that is None, of one named like the feature or its plural, or of the only one beside the id."""
    if column is not None and column in header:
        return header.index(column)
    candidates = [position for position in range(len(header)) if position != id_column]
    namesakes = [position for name in _spellings(feature) for position in candidates if _letters(header[position]) == name]
    if column is None and (namesakes or len(candidates) == 1):
        return namesakes[0] if namesakes else candidates[0]
    problem = f"no column {column!r}" if column is not None else f"no column is called {feature}"
    listing = ", ".join(header[position] for position in candidates) or "none but the id"
    raise ExportRefused(f"{path}: {problem}; its columns are {listing}. Say which: --item-feature {feature}={path}:COLUMN")


def _spellings(feature: str) -> tuple[str, ...]:
    name = _letters(feature)
    return name, f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def _letters(name: str) -> str:
    """The letters and digits of a name, in lower case."""
    return "".join(character for character in name.casefold() if character.isalnum())


def _from_python(source: str, values: Any) -> FeatureValues:
    """A list or an array as numbers or texts; an item's list of names becomes one text with separators, as a CSV cell has it."""
    if hasattr(values, "__array__"):
        values = _as_array(source, values)
    elif not isinstance(values, Sequence):
        raise ExportRefused(f"{source} must be a list or an array with one value for each item, not {type(values).__name__}")
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return values
    entries = [entry.tolist() if isinstance(entry, np.ndarray | np.generic) else entry for entry in values]
    entries = [NAME_SEPARATOR.join(entry) if isinstance(entry, list | tuple) and _are_texts(entry) else entry for entry in entries]
    if _are_texts(entries):
        return entries
    missing = [row for row, entry in enumerate(entries) if _is_missing(entry)]
    if missing:
        raise ExportRefused(
            f"{source}: no value for {len(missing)} of {len(entries)} items, the first in row {missing[0]}; every item needs one"
        )
    return _number_array(source, entries)


def _as_array(source: str, values: Any) -> NDArray[Any]:
    try:
        return np.atleast_1d(np.asarray(values))
    except (RuntimeError, TypeError) as error:  # a tensor on a device, or one that is still being trained
        raise ExportRefused(f"{source} can't be read as a NumPy array: {error}") from None


def _is_missing(entry: Any) -> bool:
    return entry is None or (isinstance(entry, str) and not entry) or (isinstance(entry, float) and math.isnan(entry))


def _are_texts(entries: Iterable[Any]) -> bool:
    return all(isinstance(entry, str) for entry in entries)


def _number_array(source: str, entries: list[Any]) -> NDArray[Any]:
    try:
        array = np.array(entries)
    except ValueError:
        raise ExportRefused(f"{source}: items have lists of different lengths; every item needs as many values") from None
    if array.dtype.kind not in "biuf":
        kinds = ", ".join(sorted({type(entry).__name__ for entry in entries}))
        raise ExportRefused(f"{source}: values are numbers, names or lists of them, of one kind for all items; found {kinds}")
    return array


def _one_per_item(source: str, values: FeatureValues, items: SideIds) -> FeatureValues:
    """The values, unchanged; raises ExportRefused unless there is one for each item."""
    if len(values) != items.count:
        raise ExportRefused(f"{source}: {len(values)} values for {items.count} items; give one for each item, in row order")
    return _check_filled(source, values, items) if isinstance(values, list) else values


def _check_filled(source: str, cells: list[str], items: SideIds) -> list[str]:
    """The cells, unchanged; raises ExportRefused where one is empty."""
    missing = [row for row, cell in enumerate(cells) if not cell]
    if missing:
        hint = " (ids are row numbers here, from 0 on; for others pass --item-ids)" if items.kind == "row" else ""
        raise ExportRefused(
            f"{source}: no value for {len(missing)} of the model's {items.count} items, the first is item "
            f"{items.text_of(missing[0])}; every item needs one{hint}"
        )
    return cells
