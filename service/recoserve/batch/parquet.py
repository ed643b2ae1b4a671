"""Writes rankings as Parquet files and reads them back. No other module of the service imports pyarrow.

One row for each user, in row order: `user_id` (int64 or string), `item_ids` (a list of int64 or string) and `scores` (a list of
float32), best first. The file's metadata holds the plan as JSON under the key `recoserve`.
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
from recoserve.bundle.arrays import Rows, offsets_of
from recoserve.bundle.vocabulary import Vocabulary
from recoserve.errors import OperatorError
from recoserve.search.query import Ranking

ArrowTable: TypeAlias = pa.Table

METADATA_KEY = b"recoserve"
ROW_GROUP_ITEMS = 1 << 20  # items in a row group: about 6 MiB written, 12 MiB in memory
IDS_AT_A_TIME = 1 << 16  # as Python objects, on the way from a vocabulary to Arrow


class RankingTables:
    """Turns rankings into Arrow tables of external ids, and tables into files; `plan` goes into every file's metadata."""

    def __init__(self, bundle: Bundle, plan: Mapping[str, Any]) -> None:
        self._users = bundle.users
        self._item_ids = _ItemIdArray(bundle.items)
        self._row_group_rows = max(1, ROW_GROUP_ITEMS // int(plan["k"]))
        lists = [pa.list_(pa.field("element", kind, nullable=False)) for kind in (self._item_ids.type, pa.float32())]
        columns = zip(("user_id", "item_ids", "scores"), (_arrow_type(bundle.users), *lists), strict=True)
        fields = [pa.field(name, kind, nullable=False) for name, kind in columns]
        self._schema = pa.schema(fields, {METADATA_KEY: json.dumps(plan, ensure_ascii=False).encode()})

    def table(self, first_user: int, rankings: Sequence[Ranking]) -> ArrowTable:
        """The `rankings` of consecutive users, from row `first_user` on, as a table."""
        offsets = pa.array(offsets_of(np.array([len(ranking.item_rows) for ranking in rankings])).astype(np.int32))
        item_ids = self._item_ids.take(np.concatenate([ranking.item_rows for ranking in rankings]))
        scores = pa.array(np.concatenate([ranking.scores for ranking in rankings]), pa.float32())
        users = pa.array(self._users.external(range(first_user, first_user + len(rankings))), _arrow_type(self._users))
        lists = [
            pa.ListArray.from_arrays(offsets, values, type=self._schema.field(name).type)
            for name, values in (("item_ids", item_ids), ("scores", scores))
        ]
        return pa.Table.from_arrays([users, *lists], schema=self._schema)

    def write(self, path: Path, tables: Iterable[ArrowTable]) -> None:
        """Write tables one after the other as one file, which is safe on the disk when this returns; raises OSError."""
        with open(path, "wb") as file:
            with pq.ParquetWriter(file, self._schema, compression="zstd") as writer:
                for table in self._row_groups(tables):
                    # A page ends where a chunk ends, and a chunk where a run was interrupted. One chunk keeps no trace of that.
                    writer.write_table(table.combine_chunks(), row_group_size=self._row_group_rows)
            file.flush()
            os.fsync(file.fileno())

    def _row_groups(self, tables: Iterable[ArrowTable]) -> Iterator[ArrowTable]:
        """The rows of all tables in tables of one size, so that interruptions make no difference to the bytes that are written."""
        pending = self._schema.empty_table()
        for table in tables:
            pending = pa.concat_tables([pending, table])
            full_row_count = pending.num_rows - pending.num_rows % self._row_group_rows
            for start in range(0, full_row_count, self._row_group_rows):
                yield pending.slice(start, self._row_group_rows)
            pending = pending.slice(full_row_count)
        if pending.num_rows:
            yield pending


def read_table(path: Path) -> ArrowTable:
    """All rows of a file; raises OperatorError where it is damaged."""
    try:
        with pq.ParquetFile(path) as file:  # `pq.read_table` would take columns from folder names such as k=10
            return file.read()
    except pa.ArrowException as error:
        raise damaged_file(path) from error


def count_rows(path: Path) -> int:
    """The number of rows in a file's footer; raises OperatorError where it is damaged."""
    try:
        row_count: int = pq.read_metadata(path).num_rows
    except pa.ArrowException as error:
        raise damaged_file(path) from error
    return row_count


def read_plan(path: Path) -> dict[str, Any] | None:
    """The plan in a Parquet file's metadata, as a JSON object; None for a file that has none or can't be read."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        plan: dict[str, Any] = json.loads(metadata.get(METADATA_KEY, b"null"))
    except (pa.ArrowException, ValueError, OSError):
        return None
    return plan


def damaged_file(path: Path) -> OperatorError:
    """The error for a part file or a plan that can't be read."""
    return OperatorError(f"{path}: damaged; begin again with --restart")


class _ItemIdArray:
    """The external ids of all items as an Arrow array, from which they are taken by row. Ids that are row numbers need no array."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.type = _arrow_type(vocabulary)
        self._ids: pa.ChunkedArray | None = None
        if vocabulary.kind != "row":
            starts = range(0, len(vocabulary), IDS_AT_A_TIME)
            rows_at_a_time = (range(start, min(start + IDS_AT_A_TIME, len(vocabulary))) for start in starts)
            self._ids = pa.chunked_array([pa.array(vocabulary.external(rows), self.type) for rows in rows_at_a_time])

    def take(self, rows: Rows) -> pa.Array:
        """The ids of some rows: int64 [n] -> n ids."""
        if self._ids is None:
            return pa.array(rows, self.type)
        ids = self._ids.take(pa.array(rows))
        return ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids


def _arrow_type(vocabulary: Vocabulary) -> pa.DataType:
    return pa.string() if vocabulary.id_type is str else pa.int64()
