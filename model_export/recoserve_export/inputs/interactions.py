"""Interactions, the (user, item) pairs already seen: a CSV file of external ids, or two arrays of rows."""

from array import array
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from recoserve.bundle.arrays import Rows
from recoserve.bundle.interactions import Interactions
from recoserve.errors import ExportRefused
from recoserve_export.inputs.csv_file import DELIMITERS, check_line_widths, ratings_columns, read_nonempty_file
from recoserve_export.inputs.ids import SideIds, unknown_id_warnings


def read_interactions(interactions: str | Path | tuple[Any, Any], users: SideIds, items: SideIds) -> tuple[Interactions, list[str]]:
    """The interactions of every user by rows, and warnings.

    `interactions` is the path of a CSV file of external ids, or a pair of integer arrays [n] of rows. Pairs of unknown ids are left
    out with a warning; unknown rows are refused. Raises ExportRefused.
    """
    if isinstance(interactions, str | Path):
        path = Path(interactions)
        user_rows, item_rows, total = _rows_from_csv(path, users, items)
        unknown = total - len(user_rows)
        warnings = unknown_id_warnings(f"{path.name}: {unknown} of {total} interactions", unknown, users, items)
        return Interactions.from_pairs(user_rows, item_rows, users.count, items.count), warnings
    user_rows, item_rows = (_row_array(ids, rows) for ids, rows in zip((users, items), interactions, strict=True))
    if len(user_rows) != len(item_rows):
        raise ExportRefused(
            f"interactions: {len(user_rows)} user rows for {len(item_rows)} item rows; give as many of the one as of the other"
        )
    return Interactions.from_pairs(user_rows, item_rows, users.count, items.count), []


def _row_array(ids: SideIds, rows: Any) -> Rows:
    array_of_rows = np.asarray(rows)
    if array_of_rows.ndim != 1 or (array_of_rows.dtype.kind not in "iu" and array_of_rows.size):
        raise ExportRefused(f"interactions: {ids.side} rows must be integers of one dimension")
    if array_of_rows.size and not 0 <= array_of_rows.min() <= array_of_rows.max() < ids.count:
        raise ExportRefused(f"interactions: {ids.side} rows must be in [0, {ids.count - 1}]; input_dim must be max id + 1")
    return array_of_rows.astype(np.int64)


def _rows_from_csv(path: Path, users: SideIds, items: SideIds) -> tuple[Rows, Rows, int]:
    """User rows and item rows of the pairs whose ids are known, and the number of all pairs in the file."""
    user_rows, item_rows, total = array("q"), array("q"), 0
    lines = read_nonempty_file(path, DELIMITERS)
    first = next(lines)
    columns = ratings_columns(path, first)
    # With string ids a header can't be told from a pair by its looks; but only a pair has two ids that the model knows.
    first_is_pair = users.row_of(first.cells[columns.user]) is not None and items.row_of(first.cells[columns.item]) is not None
    pairs = chain([first], lines) if first_is_pair else lines
    for line in check_line_widths(path, pairs, max(columns.user, columns.item) + 1):
        user_row, item_row, total = users.row_of(line.cells[columns.user]), items.row_of(line.cells[columns.item]), total + 1
        if user_row is not None and item_row is not None:
            user_rows.append(user_row)
            item_rows.append(item_row)
    return np.array(user_rows, np.int64), np.array(item_rows, np.int64), total
