"""The values of a feature as they are passed: a file, a column of one, a list or an array, with one value for each item."""

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
    is_integer,
    is_number,
    read_nonempty_file,
    rows_by_id,
)
from recoserve_export.inputs.ids import SideIds
from recoserve_export.inputs.list_file import read_array, read_json, read_text

PathOrValues = str | Path | Sequence[Any] | NDArray[Any]
FeatureValues = NDArray[Any] | list[str]  # numbers [items] or [items, …]; or a text for each item
SUFFIXES = ".npy, .csv, .txt or .json"


def read_values(feature: str, values: PathOrValues, items: SideIds) -> tuple[str, FeatureValues]:
    """The name of the values' source for messages, and the values in row order, from FILE, FILE:COLUMN, a list or an array.

    Raises ExportRefused where an item has none.
    """
    if not isinstance(values, str | Path):
        source = f"the values of {feature!r}"
        return source, _one_per_item(source, _from_python(source, values), items)
    path, column = _path_and_column(str(values))
    if path.suffix == ".csv":
        return _from_csv(feature, path, column, items)
    if column is not None:
        raise ExportRefused(f"{path}: only a .csv file has columns; --item-feature {feature}={path} takes it as it is")
    return path.name, _one_per_item(path.name, _from_list_file(path), items)


def read_names(feature: str, names: str | Path | Sequence[Any]) -> list[str]:
    """The names of a feature's rows in row order, from a file or a list; a name may be empty. Raises ExportRefused."""
    entries = _names_from_file(Path(names)) if isinstance(names, str | Path) else names
    if not isinstance(entries, Sequence) and not hasattr(entries, "__array__"):
        raise ExportRefused(f"the names of {feature!r} must be a file or a list in row order, not {type(entries).__name__}")
    texts = [str(name) for name in entries]
    repeated = next((name for name, times in Counter(texts).items() if name and times > 1), None)
    if repeated is not None:
        raise ExportRefused(f"the names of {feature!r}: {repeated!r} stands twice; one name for each row, in row order")
    return texts


def _names_from_file(path: Path) -> list[Any]:
    if path.suffix == ".json":
        return read_json(path, "names")
    if path.suffix == ".txt":
        return list(read_text(path))
    raise ExportRefused(f"{path}: names stand in a .txt file, one a line, or in a .json list; in row order")


def as_numbers(texts: Sequence[str]) -> NDArray[Any] | None:
    """Texts that are all numbers as int64 or float64; None where one isn't."""
    if all(is_integer(text) for text in texts):
        return np.array([int(text) for text in texts], np.int64)
    if all(is_number(text) for text in texts):
        return np.array([float(text) for text in texts], np.float64)
    return None


def names_in_cell(cell: str) -> list[str]:
    """The names that a cell lists, one at least: an empty list, such as a bare separator, is a name itself."""
    return [name for entry in cell.split(NAME_SEPARATOR) if (name := entry.strip())] or [cell]


def _path_and_column(text: str) -> tuple[Path, str | None]:
    """FILE, or FILE:COLUMN where no file has the name with the colon in it; the letter in front of `:\\` is a drive."""
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
    raise ExportRefused(f"{path}: a feature's values stand in a {SUFFIXES} file")


def _from_csv(feature: str, path: Path, column: str | None, items: SideIds) -> tuple[str, list[str]]:
    """The cells of one column, joined on the external id."""
    lines = read_nonempty_file(path)
    header = next(lines).cells
    key = find_column(header, ITEM_KEY_COLUMNS) or 0
    position = _value_column(feature, path, header, key, column)
    cells = {
        row: cells[position] for text, cells in rows_by_id(path, header, key, lines) if (row := items.row_of(text)) is not None
    }
    source = f"{path.name}, column {header[position]}"
    return source, _check_filled(source, [cells.get(row, "") for row in range(items.count)], items)


def _value_column(feature: str, path: Path, header: Sequence[str], key: int, column: str | None) -> int:
    """The position of `column`; without it, of one named like the feature or its plural, or of the only one beside the id."""
    if column is not None and column in header:
        return header.index(column)
    others = [position for position in range(len(header)) if position != key]
    namesakes = [position for name in _spellings(feature) for position in others if _plain(header[position]) == name]
    if column is None and (namesakes or len(others) == 1):
        return namesakes[0] if namesakes else others[0]
    problem = f"no column {column!r}" if column is not None else f"no column is called {feature}"
    listing = ", ".join(header[position] for position in others) or "none but the id"
    raise ExportRefused(f"{path}: {problem}; its columns are {listing}. Say which: --item-feature {feature}={path}:COLUMN")


def _spellings(feature: str) -> tuple[str, ...]:
    name = _plain(feature)
    return name, f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _from_python(source: str, values: Any) -> FeatureValues:
    """A list or an array as numbers or texts; an item's list of names becomes one text, as it would stand in a cell."""
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
    """Values in row order; raises ExportRefused unless there is one for each item."""
    if len(values) != items.count:
        raise ExportRefused(f"{source}: {len(values)} values for {items.count} items; give one for each item, in row order")
    return _check_filled(source, values, items) if isinstance(values, list) else values


def _check_filled(source: str, cells: list[str], items: SideIds) -> list[str]:
    missing = [row for row, cell in enumerate(cells) if not cell]
    if missing:
        hint = " (ids are row numbers here, from 0 on; for others pass --item-ids)" if items.kind == "row" else ""
        raise ExportRefused(
            f"{source}: no value for {len(missing)} of the model's {items.count} items, the first is item "
            f"{items.text_of(missing[0])}; every item needs one{hint}"
        )
    return cells
