"""Reads the external ids of the users or of the items: integers or strings, one for each row, and the model's row of each."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Rows
from recoserve.errors import ExportRefused
from recoserve_export.inputs.csv_file import is_integer, read_nonempty_file
from recoserve_export.inputs.list_file import read_array, read_json, read_text

IN_PYTORCH = "(num_embeddings in PyTorch)"  # follows advice on input_dim, Keras' name for the rows of an Embedding
ID_HEADER = re.compile(r"(?i:ids?)|.*[_ -](?i:ids?)|.*[a-z](Ids?|ID)|(?i:(user|item|movie|book|product)id)")


@dataclass(frozen=True)
class SideIds:
    """The external ids of one side, `user` or `item`, in row order.

    `kind` is `row` (ids are the row numbers themselves, and `values` is None), `integer` (int64 [count]) or `string`.
    `row_by_text` has the row of each id, by the id as text. `model_rows`, int64 [count], has the model's row for each row that is
    served; None where they are the same. `notes` are sentences for the report.
    """

    side: str
    kind: str
    count: int
    values: Rows | list[str] | None = None
    row_by_text: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)
    model_rows: Rows | None = None
    notes: tuple[str, ...] = ()

    def row_of(self, text: str) -> int | None:
        """The row of an id as it is written in a file; None for an unknown id."""
        if self.values is None:
            return int(text) if is_integer(text) and 0 <= int(text) < self.count else None
        return self.row_by_text.get(text)

    def text_of(self, row: int) -> str:
        """The id of a row, as it is written in a file."""
        return str(row if self.values is None else self.values[row])


@dataclass(frozen=True)
class _IdList:
    """Ids as they were passed or read; in messages, `source` names the list, `unit` and `numbers` the line or entry of each id."""

    source: str
    entries: Sequence[Any]
    unit: str
    numbers: Sequence[int]
    is_text: bool  # from a file, which can't tell "7" from 7


def read_ids(side: str, ids: str | Path | Sequence[Any] | NDArray[Any] | None, count: int | None) -> SideIds:
    """The ids of one side, from a `.npy`, `.json`, `.csv` or text file, a list or an array: integers where every one is.

    `count` is the number of rows of the model's table; None where the model doesn't show it, and the ids decide. There must be one
    id for each row, in row order; or fewer, all of them integers that are the model's row numbers. Raises ExportRefused for
    anything else, for an id that comes twice, and for one that is neither an integer nor a string.
    """
    if ids is None:
        return _row_numbers(side, count)
    listed = _listed(side, ids)
    texts = [_text(listed, position) for position in range(len(listed.entries))]
    row_by_text = _row_by_text(listed, texts)
    values = _as_integers(listed, texts)
    count = len(texts) if count is None else count
    # A list of integers has three readings, and the number of rows of the model's own table decides between them:
    #   fewer ids than rows, each of them a row number: the model was trained on raw ids and looks each up in the row of that
    #       number. The rows that no id names were never trained, and are left out.
    #   as many ids as rows: the n-th id is that of row n, whatever the numbers are, since such a list stands in row order. Even
    #       a shuffled 0 … n - 1 is read so: taken for row numbers, it would say no more than no list at all.
    #   as many, and just 0, 1, 2 …: ids and rows are the same, and the bundle stores none.
    # Anything else is refused: a guess would serve an item under another one's id. Strings are never row numbers.
    if values is not None and _are_row_numbers(values, count):
        notes = (_raw_ids_note(listed.source, len(values), count),)
        return SideIds(side, "integer", len(values), values, row_by_text, values, notes)
    if len(texts) != count:
        raise _count_error(side, listed.source, len(texts), count, values)
    if values is None:
        return SideIds(side, "string", count, texts, row_by_text)
    if np.array_equal(values, np.arange(count)):
        return SideIds(side, "row", count)
    return SideIds(side, "integer", count, values, row_by_text)


def _row_numbers(side: str, count: int | None) -> SideIds:
    """Row numbers as ids; raises ExportRefused where the number of rows isn't known."""
    if count is None:
        raise ExportRefused(
            f"can't tell how many {side}s the model knows, since it looks up no table by the unchanged {side} rows: "
            f"pass --{side}-ids with one id for each row, or --{side}-input if another input is the {side}'s"
        )
    return SideIds(side, "row", count)


def _listed(side: str, ids: str | Path | Sequence[Any] | NDArray[Any]) -> _IdList:
    if not isinstance(ids, str | Path):
        entries = list(ids)
        return _IdList(f"{side} ids", entries, "entry", range(len(entries)), is_text=False)
    path = Path(ids)
    if path.suffix in (".npy", ".json"):
        entries = _npy_ids(path) if path.suffix == ".npy" else read_json(path, "ids")
        return _IdList(path.name, entries, "entry", range(len(entries)), is_text=True)
    if path.suffix == ".csv":
        lines = list(read_nonempty_file(path))
        lines = lines[is_id_header(lines[0].cells[0]) :]
        return _IdList(path.name, [line.cells[0] for line in lines], "line", [line.number for line in lines], is_text=True)
    texts = read_text(path)
    return _IdList(path.name, texts, "line", range(1, len(texts) + 1), is_text=True)


def _npy_ids(path: Path) -> list[Any]:
    array = read_array(path, "integers or strings")
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        raise ExportRefused(f"{path}: ids must be integers or strings of one dimension, not {array.dtype} {list(array.shape)}")
    ids: list[Any] = array.tolist()
    return ids


def is_id_header(cell: str) -> bool:
    """True if a first cell is the name of a column of ids, such as `id`, `movie_id`, `userId` or `item ids`, and no id itself."""
    return ID_HEADER.fullmatch(cell.strip()) is not None


def _text(listed: _IdList, position: int) -> str:
    entry, where = listed.entries[position], f"{listed.source}: {listed.unit} {listed.numbers[position]}"
    if isinstance(entry, bool) or not isinstance(entry, int | np.integer | str):
        raise ExportRefused(f"{where} is {entry!r}; an id is an integer or a string")
    if not str(entry):
        raise ExportRefused(f"{where} is empty; every row needs an id")
    return str(entry)


def _row_by_text(listed: _IdList, texts: Sequence[str]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, text in enumerate(texts):
        if rows.setdefault(text, row) != row:
            units = {"line": "lines", "entry": "entries"}[listed.unit]
            numbers = f"{listed.numbers[rows[text]]} and {listed.numbers[row]}"
            raise ExportRefused(f"{listed.source}: id {text} stands twice, in {units} {numbers}; every row needs an id of its own")
    return rows


def _as_integers(listed: _IdList, texts: Sequence[str]) -> Rows | None:
    """The ids as int64 [count]; None unless all are integers. In a Python list "7" is a string on purpose, and stays one."""
    if not listed.is_text and any(isinstance(entry, str) for entry in listed.entries):
        return None
    return np.array([int(text) for text in texts], np.int64) if all(map(is_integer, texts)) else None


def _are_row_numbers(values: Rows, count: int) -> bool:
    """True if the ids are the numbers of some, but not all, of the table's rows, as in a model trained on raw ids."""
    return 0 < len(values) < count and int(values.min()) >= 0 and int(values.max()) < count


def _raw_ids_note(source: str, id_count: int, count: int) -> str:
    return (
        f"{source}: {id_count} ids for a table of {count} rows are taken for row numbers, as in a model trained on raw ids; "
        "the other rows are left out"
    )


def _count_error(side: str, source: str, id_count: int, count: int, values: Rows | None) -> ExportRefused:
    """The error for `id_count` ids of a table with `count` rows; `values` are the ids if all of them are integers."""
    problem, remedies = f"{source} names {id_count} {side} ids", list[str]()
    if values is not None and len(values) and int(values.max()) == count:
        problem += f"; the largest id is {count} and the table has {count} rows"
        remedies.append(f"input_dim must be max id + 1 = {count + 1} {IN_PYTORCH}")
    else:
        problem += f", but the {side} table has {count} rows"
    if id_count > count:
        remedies = remedies or [f"input_dim must be max id + 1 {IN_PYTORCH}"]
        remedies.append("or the number of ids, if ids were mapped to rows")
        remedies.append("if the first entry is a header, remove it")
    else:
        remedies.append("give one id per row, in row order, unused and padding rows included")
        remedies.append(f"or, if the model was trained on the ids as they are, give those ids, integers in [0, {count - 1}]")
    return ExportRefused(f"{problem}: {'; '.join(remedies)}")


def unknown_id_warnings(subject: str, count: int, *sides: SideIds) -> list[str]:
    """A list of one warning, that `subject` have an id that the model doesn't know; empty if `count`, their number, is 0."""
    options = [f"--{ids.side}-ids" for ids in sides if ids.kind == "row"]
    hint = f" (ids are row numbers here, from 0 on; for others pass {' and '.join(options)})" if options else ""
    return [f"{subject} have an id that the model doesn't know, and were left out{hint}"] if count else []
