"""Answers as Parquet, and the only place that imports pyarrow.

One row a user, in row order: `user_id` (int64 or string), `item_ids` (a list of int64 or string) and `scores` (a list of
float32), best first. The file's metadata has the plan as JSON under the key `recoserve`.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recoserve.bundle.archive import Bundle
from recoserve.bundle.vocabulary import Vocabulary
from recoserve.errors import OperatorError
from recoserve.search.query import Ranking

Table: TypeAlias = pa.Table

KEY = b"recoserve"
GROUP_VALUES = 1 << 20  # items in a row group: about 6 MiB written, 12 MiB in memory
PIECE = 1 << 16  # ids turned into Python objects at a time


class Tables:
    """Turns ranked rows into tables of external ids, and tables into files; `document` goes into every file's metadata."""

    def __init__(self, bundle: Bundle, document: Mapping[str, Any]) -> None:
        self._users = bundle.users
        self._items = _Ids(bundle.items)
        self._group_rows = max(1, GROUP_VALUES // int(document["k"]))
        lists = [pa.list_(pa.field("element", kind, nullable=False)) for kind in (self._items.type, pa.float32())]
        columns = zip(("user_id", "item_ids", "scores"), (_type(bundle.users), *lists), strict=True)
        fields = [pa.field(name, kind, nullable=False) for name, kind in columns]
        self._schema = pa.schema(fields, {KEY: json.dumps(document, ensure_ascii=False).encode()})

    def of(self, first_user: int, answers: Sequence[Ranking]) -> Table:
        """The rows of users `first_user` … of answers in their order."""
        offsets = np.concatenate([[0], np.cumsum([len(answer.item_rows) for answer in answers])]).astype(np.int32)
        ids = self._items.of(np.concatenate([answer.item_rows for answer in answers]))
        scores = pa.array(np.concatenate([answer.scores for answer in answers]), pa.float32())
        users = pa.array(self._users.external(range(first_user, first_user + len(answers))), _type(self._users))
        kinds = [self._schema.field(name).type for name in ("item_ids", "scores")]
        lists = [
            pa.ListArray.from_arrays(pa.array(offsets), values, type=kind)
            for values, kind in zip((ids, scores), kinds, strict=True)
        ]
        return pa.Table.from_arrays([users, *lists], schema=self._schema)

    def write(self, path: Path, tables: Iterable[Table]) -> None:
        """Tables one after another as one file, in row groups of an even size, safe on the disk when this returns."""
        with open(path, "wb") as file:
            with pq.ParquetWriter(file, self._schema, compression="zstd") as writer:
                for group in self._even(tables):  # in one chunk each: pages end where chunks do
                    writer.write_table(group.combine_chunks(), row_group_size=self._group_rows)
            file.flush()
            os.fsync(file.fileno())

    def _even(self, tables: Iterable[Table]) -> Iterator[Table]:
        """Cut anew, so that the groups don't tell where a run was interrupted."""
        held = self._schema.empty_table()
        for table in tables:
            held = pa.concat_tables([held, table])
            whole = held.num_rows - held.num_rows % self._group_rows
            for start in range(0, whole, self._group_rows):
                yield held.slice(start, self._group_rows)
            held = held.slice(whole)
        if held.num_rows:
            yield held


def read(path: Path) -> Table:
    """A whole file. Raises OperatorError where it is damaged."""
    try:
        with pq.ParquetFile(path) as file:  # `read_table` would take columns from folder names such as k=10
            return file.read()
    except pa.ArrowException as error:
        raise damaged(path) from error


def count(path: Path) -> int:
    """How many rows a file says it has. Raises OperatorError where it is damaged."""
    try:
        rows: int = pq.read_metadata(path).num_rows
    except pa.ArrowException as error:
        raise damaged(path) from error
    return rows


def plan_of(path: Path) -> dict[str, Any] | None:
    """The plan that a Parquet file was written by; None for any other file."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        found: dict[str, Any] = json.loads(metadata.get(KEY, b"null"))
    except (pa.ArrowException, ValueError, OSError):
        return None
    return found


def damaged(path: Path) -> OperatorError:
    """What to say of a part that can't be read."""
    return OperatorError(f"{path}: damaged; begin again with --restart")


class _Ids:
    """The external ids of a catalogue, to be taken by row."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.type = _type(vocabulary)
        pieces = (range(start, min(start + PIECE, len(vocabulary))) for start in range(0, len(vocabulary), PIECE))
        rows = vocabulary.kind == "row"
        self._ids = None if rows else pa.chunked_array([pa.array(vocabulary.external(piece), self.type) for piece in pieces])

    def of(self, rows: Any) -> pa.Array:
        """int64 [n] -> n ids."""
        if self._ids is None:
            return pa.array(rows, self.type)
        taken = self._ids.take(pa.array(rows))
        return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken


def _type(vocabulary: Vocabulary) -> pa.DataType:
    return pa.string() if vocabulary.id_type is str else pa.int64()
