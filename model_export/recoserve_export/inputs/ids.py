"""External ids as people have them: integers or strings, one for each row of the catalogue, and the model's row of each."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import ExportRefused
from recoserve_export.inputs.csv_file import filled_lines, is_integer
from recoserve_export.inputs.list_file import read_array, read_json, read_text

HEADER = re.compile(r"(?i:ids?)|.*[_ -](?i:ids?)|.*[a-z](Ids?|ID)|(?i:(user|item|movie|book|product)id)")


@dataclass(frozen=True)
class Ids:
    """The external ids of one side, in row order: `values` None (rows themselves), int64 [rows], or strings.

    `model_rows` int64 [rows] has the model's row of each row of the catalogue; None where they are the same.
    `notes` are what the report has to tell.
    """

    side: str
    kind: str
    count: int
    values: NDArray[np.int64] | list[str] | None = None
    rows: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)
    model_rows: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()

    def find(self, text: str) -> int | None:
        """The row, in the catalogue, of an id as it is written in a file."""
        if self.values is None:
            return int(text) if is_integer(text) and 0 <= int(text) < self.count else None
        return self.rows.get(text)

    def external(self, row: int) -> str:
        """The id of a row, as it is written in a file."""
        return str(row if self.values is None else self.values[row])


def read_ids(side: str, given: str | Path | Sequence[Any] | NDArray[Any] | None, count: int | None) -> Ids:
    """The ids of one side from a `.npy`, `.json`, `.csv` or text file, a list or an array: integers where every one is.

    `count` is the number of rows that the model's table has, None where only the ids can tell. There is one id for each row, in
    row order; or fewer, all of them integers that name rows, which are the model's rows themselves. Raises ExportRefused for
    anything else, where an id stands twice, and where one is neither an integer nor a string.
    """
    if given is None and count is None:
        raise ExportRefused(
            f"can't tell how many {side}s the model knows, since it looks up no table by the {side}'s rows as they are: "
            f"pass --{side}-ids with one id for each row, or --{side}-input where another input is the {side}'s"
        )
    if given is None:
        return Ids(side, "row", count or 0)
    in_file = isinstance(given, str | Path)
    if isinstance(given, str | Path):
        source, (found, first) = Path(given).name, _id_list(Path(given))
    else:
        source, found, first = f"{side} ids", list(given), 0
    texts = [_id_text(source, place, each) for place, each in enumerate(found, first)]
    rows = _unique(source, texts, first)
    integers = all((in_file or not isinstance(each, str)) and is_integer(text) for each, text in zip(found, texts, strict=True))
    values = np.array([int(text) for text in texts], np.int64) if integers else None
    count = len(texts) if count is None else count
    if values is not None and _are_rows(values, count):
        return Ids(side, "integer", len(values), values, rows, values, (_raw_note(source, len(values), count),))
    _check_count(side, source, len(texts), count, values)
    if values is None:
        return Ids(side, "string", count, texts, rows)
    return Ids(side, "row", count) if np.array_equal(values, np.arange(count)) else Ids(side, "integer", count, values, rows)


def _id_list(path: Path) -> tuple[list[Any], int]:
    """What stands in an ids file, and the number of its first line, or 0 for entries of an array."""
    if path.suffix == ".npy":
        return _npy_ids(path), 0
    if path.suffix == ".json":
        return read_json(path, "ids"), 0
    if path.suffix == ".csv":
        cells = [line.cells[0] for line in filled_lines(path)]
        header = is_header(cells[0])
        return cells[header:], 1 + header
    return read_text(path), 1


def _npy_ids(path: Path) -> list[Any]:
    found = read_array(path, "integers or strings")
    if found.ndim != 1 or found.dtype.kind not in "iuU":
        raise ExportRefused(f"{path}: ids must be integers or strings of one dimension, not {found.dtype} {list(found.shape)}")
    ids: list[Any] = found.tolist()
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


def _are_rows(values: NDArray[np.int64], count: int) -> bool:
    """Whether ids are the rows of a part of the table, as in a model trained on raw ids."""
    return 0 < len(values) < count and int(values.min()) >= 0 and int(values.max()) < count


def _raw_note(source: str, found: int, count: int) -> str:
    return (
        f"{source}: {found} ids for a table of {count} rows are taken for row numbers, as in a model trained on raw ids; "
        "the other rows are left out"
    )


def _check_count(side: str, source: str, found: int, count: int, values: NDArray[np.int64] | None) -> None:
    """One id for each row; `values` are the ids where all of them are integers."""
    if found == count:
        return
    said, ways = f"{source} names {found} {side} ids", []
    if values is not None and len(values) and int(values.max()) == count:
        said += f"; the largest id is {count} and the table has {count} rows"
        ways.append(f"input_dim must be max id + 1 = {count + 1}")
    else:
        said += f", but the {side} table has {count} rows"
    if found > count:
        ways = ways or ["input_dim must be max id + 1"]
        ways.append("where ids were mapped to rows, their number. If the first entry is a header, name the column like user_id")
    else:
        ways.append("give one id per row, in row order, unused and padding rows included")
        ways.append(f"or, where the model was trained on the ids as they are, those ids, integers in [0, {count - 1}]")
    raise ExportRefused(f"{said}: {'; '.join(ways)}")


def unknown_ids(what: str, count: int, *sides: Ids) -> list[str]:
    """The warning that `count` of something have an id that the model doesn't know; none where it is 0."""
    rows = [f"--{ids.side}-ids" for ids in sides if ids.kind == "row"]
    hint = f" (ids are row numbers here, from 0 on; for others pass {' and '.join(rows)})" if rows else ""
    return [f"{what} have an id that the model doesn't know, and were left out{hint}"] if count else []
