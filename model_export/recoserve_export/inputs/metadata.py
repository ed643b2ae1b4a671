"""Reads item metadata: a CSV file that is joined on the external id, or a mapping for each item."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recoserve.errors import ExportRefused
from recoserve_export.inputs.csv_file import (
    ITEM_KEY_COLUMNS,
    NAME_SEPARATOR,
    NO_GENRES,
    find_column,
    ids_and_cells,
    is_integer,
    read_nonempty_file,
)
from recoserve_export.inputs.ids import SideIds, unknown_id_warnings

DECIMAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
TEXT_COLUMNS = ("title", "name", "description", "summary", "overview")  # a "|" in these is punctuation

Metadata = list[dict[str, Any]]


def read_items(items: str | Path | Sequence[Mapping[str, Any]], ids: SideIds) -> tuple[Metadata, list[str]]:
    """The metadata of every item in row order, `{}` where there is none, and warnings.

    `items` is the path of a CSV file, joined on the external id, or one mapping per row. Raises ExportRefused for a file that
    can't be read or joined, and for another number of mappings.
    """
    return _from_csv(Path(items), ids) if isinstance(items, str | Path) else (_from_mappings(items, ids), [])


def _from_mappings(items: Sequence[Mapping[str, Any]], ids: SideIds) -> Metadata:
    if len(items) != ids.count:
        raise ExportRefused(f"items: {len(items)} entries for {ids.count} rows; give one per row, in row order")
    bad_row = next((row for row, entry in enumerate(items) if not isinstance(entry, Mapping)), None)
    if bad_row is not None:
        raise ExportRefused(
            f"items: entry {bad_row} is a {type(items[bad_row]).__name__}; every entry must be a mapping of column names to values"
        )
    return [dict(entry) for entry in items]


def _from_csv(path: Path, ids: SideIds) -> tuple[Metadata, list[str]]:
    lines = read_nonempty_file(path)
    header = next(lines).cells
    id_column = find_column(header, ITEM_KEY_COLUMNS) or 0
    cells_by_id = dict(ids_and_cells(path, header, id_column, lines))
    cells_by_row = {row: cells for text, cells in cells_by_id.items() if (row := ids.row_of(text)) is not None}
    columns = {
        name: _typed(name, {row: cells[position] for row, cells in cells_by_row.items()})
        for position, name in enumerate(header)
        if position != id_column
    }
    metadata = [{name: column[row] for name, column in columns.items() if row in column} for row in range(ids.count)]
    unknown_count, bare_count = len(cells_by_id) - len(cells_by_row), ids.count - len(cells_by_row)
    warnings = unknown_id_warnings(f"{path.name}: {unknown_count} of {len(cells_by_id)} items", unknown_count, ids)
    if bare_count:
        warnings.append(f"{path.name}: {bare_count} of the model's {ids.count} items are not in it; they have no metadata")
    return metadata, warnings


def _typed(name: str, cells: Mapping[int, str]) -> dict[int, Any]:
    """A column's values by row, without empty cells: lists of names, integers or decimals if all its cells are such, else texts."""
    filled = {row: cell for row, cell in cells.items() if cell}
    texts = filled.values()
    convert: Callable[[str], Any] = str
    if name.lower() not in TEXT_COLUMNS and any(NAME_SEPARATOR in cell or cell == NO_GENRES for cell in texts):
        convert = _list_of_names
    elif all(is_integer(cell) for cell in texts):
        convert = int
    elif all(DECIMAL.fullmatch(cell) and math.isfinite(float(cell)) for cell in texts):  # JSON has no infinity
        convert = float
    return {row: convert(cell) for row, cell in filled.items()}


def _list_of_names(cell: str) -> list[str]:
    return [] if cell == NO_GENRES else [name for name in cell.split(NAME_SEPARATOR) if name]
