"""Reads interactions, the (user, item) pairs already seen, from a CSV file of external ids or from two arrays of rows."""

from array import array
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from recoserve.bundle.arrays import Rows
from recoserve.bundle.interactions import Interactions
from recoserve.errors import ExportRefused
from recoserve_export.inputs.csv_file import (
    DELIMITERS,
    USER_COLUMNS,
    Line,
    RatingsColumns,
    complete_lines,
    find_column,
    is_integer,
    ratings_columns,
    read_nonempty_file,
)
from recoserve_export.inputs.ids import SideIds, unknown_id_warnings


def read_interactions(interactions: str | Path | tuple[Any, Any], users: SideIds, items: SideIds) -> tuple[Interactions, list[str]]:
    """Returns the interactions, by rows of users and items, and a list of warnings.

    `interactions` is the path of a CSV file of external ids, or two arrays of rows (user rows, item rows), integers [n] each.

    In a CSV file a pair with an unknown user or item id is left out, and a warning counts these pairs. Its first line is a pair if
    both ids in it are known or both are integers; otherwise it is taken for a header. Raises ExportRefused for a file that can't be
    read or lacks a column, and for arrays that are not one-dimensional, not of integers or not equally long, or that have a row
    outside the tables.
    """
    if isinstance(interactions, str | Path):
        user_rows, item_rows, warnings = _pairs_from_csv(Path(interactions), users, items)
    else:
        user_rows, item_rows = _pairs_from_arrays(interactions, users, items)
        warnings = []
    return Interactions.from_pairs(user_rows, item_rows, users.count, items.count), warnings


def _pairs_from_arrays(arrays: Iterable[Any], users: SideIds, items: SideIds) -> tuple[Rows, Rows]:
    try:
        users_array, items_array = arrays
    except (TypeError, ValueError):
        raise ExportRefused("interactions: give the path of a CSV file, or two arrays: (user rows, item rows)") from None
    user_rows, item_rows = _checked_rows(users, users_array), _checked_rows(items, items_array)
    if len(user_rows) != len(item_rows):
        raise ExportRefused(
            f"interactions: {len(user_rows)} user rows for {len(item_rows)} item rows; both arrays must have the same length"
        )
    return user_rows, item_rows


def _checked_rows(ids: SideIds, array_like: Any) -> Rows:
    """The rows of one side as int64 [n]; raises ExportRefused unless all of them are rows of `ids`."""
    rows = np.asarray(array_like)
    # An empty array may have any dtype: NumPy makes float64 of an empty list.
    if rows.ndim != 1 or (rows.dtype.kind not in "iu" and rows.size):
        raise ExportRefused(f"interactions: {ids.side} rows must be a one-dimensional array of integers")
    if rows.size and not 0 <= rows.min() <= rows.max() < ids.count:
        raise ExportRefused(
            f"interactions: {ids.side} rows must be in [0, {ids.count - 1}], row numbers counted from 0; "
            "to give external ids, pass a CSV file"
        )
    return rows.astype(np.int64)


def _pairs_from_csv(path: Path, users: SideIds, items: SideIds) -> tuple[Rows, Rows, list[str]]:
    """User rows and item rows, int64 [n] each, of the pairs whose ids are both known, and warnings of what was left out."""
    user_rows, item_rows, pair_count = array("q"), array("q"), 0
    lines = read_nonempty_file(path, DELIMITERS)
    first = next(lines)
    columns = ratings_columns(path, first)
    is_pair = _is_pair(first, columns, users, items)
    pairs = chain([first], lines) if is_pair else lines
    for line in complete_lines(path, pairs, max(columns.user, columns.item) + 1):
        user_row, item_row = users.row_of(line.cells[columns.user]), items.row_of(line.cells[columns.item])
        pair_count += 1
        if user_row is not None and item_row is not None:
            user_rows.append(user_row)
            item_rows.append(item_row)
    unknown_count = pair_count - len(user_rows)
    warnings = unknown_id_warnings(f"{path.name}: {unknown_count} of {pair_count} interactions", unknown_count, users, items)
    if not is_pair:
        warnings += _header_warnings(path, first, users, items)
    return np.array(user_rows, np.int64), np.array(item_rows, np.int64), warnings


def _is_pair(first: Line, columns: RatingsColumns, users: SideIds, items: SideIds) -> bool:
    """True if a first line has a user id and an item id that the model knows, or two integers."""
    # With string ids a header can't be told from a pair by its looks; but only a pair has two ids that the model knows.
    user_id, item_id = first.cells[columns.user], first.cells[columns.item]
    both_known = users.row_of(user_id) is not None and items.row_of(item_id) is not None
    return both_known or (is_integer(user_id) and is_integer(item_id))


def _header_warnings(path: Path, header: Line, users: SideIds, items: SideIds) -> list[str]:
    """A warning for a header that may be a pair: the ids of a side are strings, and none of its cells is in `USER_COLUMNS`."""
    if find_column(header.cells, USER_COLUMNS) is not None or "string" not in (users.kind, items.kind):
        return []
    return [f"{path.name}: line {header.number} is taken for a header, since its user id and its item id are not both known"]
