"""The files that come with a model: external ids, item metadata, and the pairs that users have already seen."""

import json
import math
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_export.table_file import DELIMITERS, ITEM_KEYS, Line, cells_of, is_integer, named, ratings_columns, read_lines
from service.bundle.catalogue import SeenPairs
from service.errors import ExportRefused, FileInvalid

DECIMAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
HEADER = re.compile(r"(?i:ids?)|.*[_ -](?i:ids?)|.*[a-z](Ids?|ID)|(?i:(user|item|movie|book|product)id)")
TEXT_COLUMNS = ("title", "name", "description", "summary", "overview")  # a "|" in these is punctuation
NO_GENRES = "(no genres listed)"


@dataclass(frozen=True)
class Ids:
    """The external ids of one side, in row order: `values` None (rows themselves), int64 [rows], or strings."""

    side: str
    kind: str
    count: int
    values: NDArray[np.int64] | list[str] | None = None
    rows: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)

    def find(self, text: str) -> int | None:
        """The row of an id as it is written in a file."""
        if self.values is None:
            return int(text) if is_integer(text) and 0 <= int(text) < self.count else None
        return self.rows.get(text)


def read_ids(side: str, given: str | Path | Sequence[Any] | NDArray[Any] | None, count: int) -> Ids:
    """The ids of one side from a `.npy`, `.json`, `.csv` or text file, a list or an array: integers where every one is.

    Raises ExportRefused where an id stands twice, is neither an integer nor a string, or where there isn't one for each row.
    """
    if given is None:
        return Ids(side, "row", count)
    in_file = isinstance(given, str | Path)
    if isinstance(given, str | Path):
        source, (found, first) = Path(given).name, _id_list(Path(given))
    else:
        source, found, first = f"{side} ids", list(given), 0
    texts = [_id_text(source, place, each) for place, each in enumerate(found, first)]
    rows = _unique(source, texts, first)
    _check_count(side, source, texts, count)
    integers = all((in_file or not isinstance(each, str)) and is_integer(text) for each, text in zip(found, texts, strict=True))
    if not integers:
        return Ids(side, "string", count, texts, rows)
    values = np.array([int(text) for text in texts], np.int64)
    return Ids(side, "row", count) if np.array_equal(values, np.arange(count)) else Ids(side, "integer", count, values, rows)


def _id_list(path: Path) -> tuple[list[Any], int]:
    """What stands in an ids file, and the number of its first line, or 0 for entries of an array."""
    if path.suffix == ".npy":
        return _npy_ids(path), 0
    if path.suffix == ".json":
        return _json_ids(path), 0
    if path.suffix == ".csv":
        cells = [line.cells[0] for line in _lines(path)]
        header = is_header(cells[0])
        return cells[header:], 1 + header
    with _readable(path), open(path, encoding="utf-8-sig") as file:
        return [line.strip() for line in file], 1


def _npy_ids(path: Path) -> list[Any]:
    with _readable(path):
        try:
            found = np.load(path, allow_pickle=False)
        except (ValueError, EOFError):
            raise ExportRefused(f"{path}: not a .npy file of integers or strings (pickled objects are never loaded)") from None
    if found.ndim != 1 or found.dtype.kind not in "iuU":
        raise ExportRefused(f"{path}: ids must be integers or strings of one dimension, not {found.dtype} {list(found.shape)}")
    ids: list[Any] = found.tolist()
    return ids


def _json_ids(path: Path) -> list[Any]:
    with _readable(path), open(path, encoding="utf-8-sig") as file:
        try:
            ids = json.load(file)
        except json.JSONDecodeError as error:
            raise ExportRefused(f"{path}: not JSON ({error})") from None
    if not isinstance(ids, list):
        raise ExportRefused(f"{path}: must be one JSON list of ids, in row order")
    return ids


def is_header(cell: str) -> bool:
    """Whether a first cell names a column of ids rather than being one: `id`, `movie_id`, `userId`, `item ids`."""
    return HEADER.fullmatch(cell.strip()) is not None


def _id_text(source: str, place: int, given: Any) -> str:
    if isinstance(given, bool) or not isinstance(given, int | np.integer | str):
        raise ExportRefused(f"{source}: entry {place} is {given!r}; an id is an integer or a string")
    if not str(given):
        raise ExportRefused(f"{source}: entry {place} is empty; every row needs an id")
    return str(given)


def _unique(source: str, texts: list[str], first: int) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, text in enumerate(texts):
        if rows.setdefault(text, row) != row:
            places = f"{'lines' if first else 'entries'} {rows[text] + first} and {row + first}"
            raise ExportRefused(f"{source}: id {text} stands twice, in {places}; every row needs an id of its own")
    return rows


def _check_count(side: str, source: str, texts: list[str], count: int) -> None:
    if len(texts) > count:
        raise ExportRefused(
            f"{source} names {len(texts)} {side} ids, but the {side} table has {count} rows: input_dim must be max id + 1 "
            "(or, where ids were mapped to rows, their number). If the first entry is a header, name the column like user_id"
        )
    if len(texts) < count:
        raise ExportRefused(
            f"{source} names {len(texts)} {side} ids, but the {side} table has {count} rows: give one id per row, in row order, "
            "unused and padding rows included"
        )


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
    lines = _lines(path)
    header = next(lines).cells
    key = named(header, ITEM_KEYS) or 0
    found = dict(_keyed(path, header, key, lines))
    columns = [name for place, name in enumerate(header) if place != key]
    places = [place for place in range(len(header)) if place != key]
    known = {row: cells for text, cells in found.items() if (row := ids.find(text)) is not None}
    typed = [_typed(name, {row: cells[place] for row, cells in known.items()}) for name, place in zip(columns, places, strict=True)]
    by_name = list(zip(columns, typed, strict=True))
    metadata = [{name: column[row] for name, column in by_name if row in column} for row in range(ids.count)]
    unknown, bare = len(found) - len(known), ids.count - len(known)
    missing = [f"{path.name}: {bare} of the model's {ids.count} items are not in it; they have no metadata"] if bare else []
    return metadata, _unknown(f"{path.name}: {unknown} of {len(found)} items", unknown, ids) + missing


def _keyed(path: Path, header: list[str], key: int, body: Iterator[Line]) -> Iterator[tuple[str, list[str]]]:
    """Each line with its id, told apart; raises ExportRefused for a line of another length and an id that stands twice."""
    if len(set(header)) != len(header):
        raise ExportRefused(f"{path}: a column name stands twice in the header")
    lines: dict[str, int] = {}
    for line in body:
        text, wide = line.cells[key] if key < len(line.cells) else "", len(line.cells)
        if wide != len(header):
            raise FileInvalid(f"{path}, line {line.number}: {wide} cells, the header {len(header)}; quote cells with commas")
        if lines.setdefault(text, line.number) != line.number:
            raise FileInvalid(f"{path}: id {text} stands twice, in lines {lines[text]} and {line.number}")
        yield text, line.cells


def _unknown(what: str, count: int, *sides: Ids) -> list[str]:
    rows = [f"--{ids.side}-ids" for ids in sides if ids.kind == "row"]
    hint = f" (ids are row numbers here, from 0 on; for others pass {' and '.join(rows)})" if rows else ""
    return [f"{what} have an id that the model doesn't know, and were left out{hint}"] if count else []


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


def read_interactions(given: str | Path | tuple[Any, Any], users: Ids, items: Ids) -> tuple[SeenPairs, list[str]]:
    """The pairs already seen, from a CSV file of external ids or from two arrays of rows, and warnings; raises ExportRefused."""
    if isinstance(given, str | Path):
        user_rows, item_rows, total = _seen_file(Path(given), users, items)
        unknown = total - len(user_rows)
        warnings = _unknown(f"{Path(given).name}: {unknown} of {total} interactions", unknown, users, items)
    else:
        (user_rows, item_rows), warnings = (_row_array(side, rows) for side, rows in zip((users, items), given, strict=True)), []
        if len(user_rows) != len(item_rows):
            raise ExportRefused(f"interactions: {len(user_rows)} user rows for {len(item_rows)} item rows")
    return SeenPairs.from_pairs(user_rows, item_rows, users.count, items.count), warnings


def _row_array(ids: Ids, rows: Any) -> NDArray[np.int64]:
    found = np.asarray(rows)
    if found.ndim != 1 or (found.dtype.kind not in "iu" and found.size):
        raise ExportRefused(f"interactions: {ids.side} rows must be integers of one dimension")
    if found.size and not 0 <= found.min() <= found.max() < ids.count:
        raise ExportRefused(f"interactions: {ids.side} rows must be in [0, {ids.count - 1}]; input_dim must be max id + 1")
    return found.astype(np.int64)


def _seen_file(path: Path, users: Ids, items: Ids) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    user_rows, item_rows, total = array("q"), array("q"), 0
    lines = _lines(path, DELIMITERS)
    first = next(lines)
    columns = ratings_columns(path, first)
    known = users.find(first.cells[columns.user]) is not None and items.find(first.cells[columns.item]) is not None
    for line in cells_of(path, chain([first], lines) if known else lines, max(columns.user, columns.item) + 1):
        user_row, item_row, total = users.find(line.cells[columns.user]), items.find(line.cells[columns.item]), total + 1
        if user_row is not None and item_row is not None:
            user_rows.append(user_row)
            item_rows.append(item_row)
    return np.array(user_rows, np.int64), np.array(item_rows, np.int64), total


def _lines(path: Path, delimiters: str = ",") -> Iterator[Line]:
    """The lines of a CSV file that must hold one at least."""
    lines = read_lines(path, delimiters)
    first = next(lines, None)
    if first is None:
        raise FileInvalid(f"{path} is empty")
    return chain([first], lines)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise ExportRefused(f"{path}: not UTF-8; save it in that encoding") from None
    except OSError as error:
        raise ExportRefused(f"{path}: {error.strerror or error}") from None
