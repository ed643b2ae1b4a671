"""The files that come with a model: external ids (in `ids`), item metadata, and the pairs that users have already seen."""

import math
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.interactions import Interactions
from recoserve.errors import ExportRefused
from recoserve_export.inputs.csv_file import (
    DELIMITERS,
    ITEM_KEYS,
    cells_of,
    filled_lines,
    is_integer,
    keyed,
    named,
    ratings_columns,
)
from recoserve_export.inputs.ids import Ids, read_ids, unknown_ids

__all__ = ["Ids", "read_ids", "read_interactions", "read_items"]

DECIMAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
TEXT_COLUMNS = ("title", "name", "description", "summary", "overview")  # a "|" in these is punctuation
NO_GENRES = "(no genres listed)"


def read_items(given: str | Path | Sequence[Mapping[str, Any]], ids: Ids) -> tuple[list[dict[str, Any]], list[str]]:
    """Metadata of every item in row order, `{}` where there is none, and warnings.

    From a CSV file joined on the external id, or from one mapping per row. Raises ExportRefused.
    """
    if not isinstance(given, str | Path):
        if len(given) != ids.count:
            raise ExportRefused(f"items: {len(given)} entries for {ids.count} rows; give one per row, in row order")
        if not all(isinstance(entry, Mapping) for entry in given):
            raise ExportRefused("items: every entry must be a mapping of column names to values")
        return [dict(entry) for entry in given], []
    path = Path(given)
    lines = filled_lines(path)
    header = next(lines).cells
    key = named(header, ITEM_KEYS) or 0
    found = dict(keyed(path, header, key, lines))
    columns = [name for place, name in enumerate(header) if place != key]
    places = [place for place in range(len(header)) if place != key]
    known = {row: cells for text, cells in found.items() if (row := ids.find(text)) is not None}
    typed = [_typed(name, {row: cells[place] for row, cells in known.items()}) for name, place in zip(columns, places, strict=True)]
    by_name = list(zip(columns, typed, strict=True))
    metadata = [{name: column[row] for name, column in by_name if row in column} for row in range(ids.count)]
    unknown, bare = len(found) - len(known), ids.count - len(known)
    missing = [f"{path.name}: {bare} of the model's {ids.count} items are not in it; they have no metadata"] if bare else []
    return metadata, unknown_ids(f"{path.name}: {unknown} of {len(found)} items", unknown, ids) + missing


def _typed(name: str, cells: Mapping[int, str]) -> dict[int, Any]:
    """A column with the one type that all its cells have; empty cells are left out."""
    filled = {row: cell for row, cell in cells.items() if cell}
    values = filled.values()
    convert: Callable[[str], Any] = str
    if name.lower() not in TEXT_COLUMNS and any("|" in cell or cell == NO_GENRES for cell in values):
        convert = _listed
    elif all(is_integer(cell) for cell in values):
        convert = int
    elif all(DECIMAL.fullmatch(cell) and math.isfinite(float(cell)) for cell in values):
        convert = float
    return {row: convert(cell) for row, cell in filled.items()}


def _listed(cell: str) -> list[str]:
    return [] if cell == NO_GENRES else [part for part in cell.split("|") if part]


def read_interactions(given: str | Path | tuple[Any, Any], users: Ids, items: Ids) -> tuple[Interactions, list[str]]:
    """The pairs already seen, from a CSV file of external ids or from two arrays of rows, and warnings; raises ExportRefused."""
    if isinstance(given, str | Path):
        user_rows, item_rows, total = _seen_file(Path(given), users, items)
        unknown = total - len(user_rows)
        warnings = unknown_ids(f"{Path(given).name}: {unknown} of {total} interactions", unknown, users, items)
    else:
        (user_rows, item_rows), warnings = (_row_array(side, rows) for side, rows in zip((users, items), given, strict=True)), []
        if len(user_rows) != len(item_rows):
            raise ExportRefused(f"interactions: {len(user_rows)} user rows for {len(item_rows)} item rows")
    return Interactions.from_pairs(user_rows, item_rows, users.count, items.count), warnings


def _row_array(ids: Ids, rows: Any) -> NDArray[np.int64]:
    found = np.asarray(rows)
    if found.ndim != 1 or (found.dtype.kind not in "iu" and found.size):
        raise ExportRefused(f"interactions: {ids.side} rows must be integers of one dimension")
    if found.size and not 0 <= found.min() <= found.max() < ids.count:
        raise ExportRefused(f"interactions: {ids.side} rows must be in [0, {ids.count - 1}]; input_dim must be max id + 1")
    return found.astype(np.int64)


def _seen_file(path: Path, users: Ids, items: Ids) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    user_rows, item_rows, total = array("q"), array("q"), 0
    lines = filled_lines(path, DELIMITERS)
    first = next(lines)
    columns = ratings_columns(path, first)
    known = users.find(first.cells[columns.user]) is not None and items.find(first.cells[columns.item]) is not None
    for line in cells_of(path, chain([first], lines) if known else lines, max(columns.user, columns.item) + 1):
        user_row, item_row, total = users.find(line.cells[columns.user]), items.find(line.cells[columns.item]), total + 1
        if user_row is not None and item_row is not None:
            user_rows.append(user_row)
            item_rows.append(item_row)
    return np.array(user_rows, np.int64), np.array(item_rows, np.int64), total
