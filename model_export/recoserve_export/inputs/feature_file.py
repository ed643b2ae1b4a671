"""What people give as the values of a feature: a file, a column of one, or a list; one value for each item, in row order."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import ExportRefused
from recoserve_export.inputs.csv_file import ITEM_KEYS, filled_lines, is_integer, is_number, keyed, named
from recoserve_export.inputs.ids import Ids
from recoserve_export.inputs.list_file import read_array, read_json, read_text

Values = NDArray[Any] | list[str]  # numbers [items] or [items, …]; or a text for each item
KINDS = ".npy, .csv, .txt or .json"
LISTED = "|"  # between several names in one cell


def read_values(feature: str, given: str | Path | Sequence[Any] | NDArray[Any], items: Ids) -> tuple[str, Values]:
    """What to call the source in a message, and its values: FILE, FILE:COLUMN, a list or an array. Raises ExportRefused."""
    if not isinstance(given, str | Path):
        source = f"the values of {feature!r}"
        return source, _counted(source, _of_python(source, given), items)
    path, column = _path_and_column(str(given))
    if path.suffix == ".csv":
        return _of_csv(feature, path, column, items)
    if column is not None:
        raise ExportRefused(f"{path}: only a .csv file has columns; --item-feature {feature}={path} takes it as it is")
    return path.name, _counted(path.name, _of_list(path), items)


def read_names(feature: str, given: str | Path | Sequence[Any]) -> list[str]:
    """The names of a feature's rows, in row order, from a file or a list; a name may be empty. Raises ExportRefused."""
    listed = _names_file(Path(given)) if isinstance(given, str | Path) else given
    if not isinstance(listed, Sequence) and not hasattr(listed, "__array__"):
        raise ExportRefused(f"the names of {feature!r} must be a file or a list in row order, not {type(listed).__name__}")
    names = [str(name) for name in listed]
    twice = next((name for name, times in Counter(names).items() if name and times > 1), None)
    if twice is not None:
        raise ExportRefused(f"the names of {feature!r}: {twice!r} stands twice; one name for each row, in row order")
    return names


def _names_file(path: Path) -> list[Any]:
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


def _path_and_column(given: str) -> tuple[Path, str | None]:
    """FILE, or FILE:COLUMN where no file has the whole name; `C:` is a drive."""
    head, colon, column = given.rpartition(":")
    drive = len(head) == 1 and head.isalpha()
    return (Path(head), column) if colon and head and not drive and not Path(given).is_file() else (Path(given), None)


def _of_list(path: Path) -> Values:
    if path.suffix == ".npy":
        return _of_python(str(path), read_array(path, "numbers or names"))
    if path.suffix == ".json":
        return _of_python(str(path), read_json(path, "values"))
    if path.suffix == ".txt":
        return list(read_text(path))
    raise ExportRefused(f"{path}: a feature's values stand in a {KINDS} file")


def _of_csv(feature: str, path: Path, column: str | None, items: Ids) -> tuple[str, list[str]]:
    """The cells of one column, joined on the external id."""
    lines = filled_lines(path)
    header = next(lines).cells
    key = named(header, ITEM_KEYS) or 0
    place = _place(feature, path, header, key, column)
    cells = {row: cells[place] for text, cells in keyed(path, header, key, lines) if (row := items.find(text)) is not None}
    source = f"{path.name}, column {header[place]}"
    return source, _complete(source, [cells.get(row, "") for row in range(items.count)], items)


def _place(feature: str, path: Path, header: list[str], key: int, column: str | None) -> int:
    """Where the values stand: under the name given, under the feature's own name or its plural, or in the only further column."""
    if column is not None and column in header:
        return header.index(column)
    others = [place for place in range(len(header)) if place != key]
    own = [place for name in _spellings(feature) for place in others if _plain(header[place]) == name]
    if column is None and (own or len(others) == 1):
        return own[0] if own else others[0]
    lacks = f"no column {column!r}" if column is not None else f"no column is called {feature}"
    listed = ", ".join(header[place] for place in others) or "none but the id"
    raise ExportRefused(f"{path}: {lacks}; its columns are {listed}. Say which: --item-feature {feature}={path}:COLUMN")


def _spellings(feature: str) -> tuple[str, ...]:
    name = _plain(feature)
    return name, f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _of_python(source: str, given: Any) -> Values:
    """A list or an array as numbers or texts; what lists names of one item becomes one text."""
    if hasattr(given, "__array__"):
        given = _as_array(source, given)
    elif not isinstance(given, Sequence):
        raise ExportRefused(f"{source} must be a list or an array with one value for each item, not {type(given).__name__}")
    if isinstance(given, np.ndarray) and given.dtype.kind in "biuf":
        return given
    entries = [entry.tolist() if isinstance(entry, np.ndarray | np.generic) else entry for entry in given]
    entries = [LISTED.join(entry) if isinstance(entry, list | tuple) and _are_texts(entry) else entry for entry in entries]
    if _are_texts(entries):
        return entries
    missing = [row for row, entry in enumerate(entries) if _is_missing(entry)]
    if missing:
        raise ExportRefused(f"{source}: no value for {len(missing)} of {len(entries)} items, the first in row {missing[0]}")
    return _number_array(source, entries)


def _as_array(source: str, given: Any) -> NDArray[Any]:
    try:
        return np.atleast_1d(np.asarray(given))
    except (RuntimeError, TypeError) as error:  # a tensor on a device, or one that is still being trained
        raise ExportRefused(f"{source} can't be read as a NumPy array: {error}") from None


def _is_missing(entry: Any) -> bool:
    return entry is None or (isinstance(entry, str) and not entry) or (isinstance(entry, float) and math.isnan(entry))


def _are_texts(entries: Sequence[Any]) -> bool:
    return all(isinstance(entry, str) for entry in entries)


def _number_array(source: str, entries: list[Any]) -> NDArray[Any]:
    try:
        found = np.array(entries)
    except ValueError:
        raise ExportRefused(f"{source}: items have lists of different lengths; every item needs as many values") from None
    if found.dtype.kind not in "biuf":
        kinds = ", ".join(sorted({type(entry).__name__ for entry in entries}))
        raise ExportRefused(f"{source}: values are numbers, names or lists of them, of one kind for all items; found {kinds}")
    return found


def _counted(source: str, values: Values, items: Ids) -> Values:
    """Values that stand in row order: one for each item."""
    if len(values) != items.count:
        raise ExportRefused(f"{source}: {len(values)} values for {items.count} items; give one for each item, in row order")
    return _complete(source, values, items) if isinstance(values, list) else values


def _complete(source: str, cells: list[str], items: Ids) -> list[str]:
    missing = [row for row, cell in enumerate(cells) if not cell]
    if missing:
        hint = " (ids are row numbers here, from 0 on; for others pass --item-ids)" if items.kind == "row" else ""
        raise ExportRefused(
            f"{source}: no value for {len(missing)} of the model's {items.count} items, the first is item "
            f"{items.external(missing[0])}; every item needs one{hint}"
        )
    return cells
