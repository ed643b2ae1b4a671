"""The part files of a batch run: the rankings so far, in a hidden folder beside the output, which a later run continues.

    .NAME.partial/
      plan.json                    the plan of the output; a run with another plan is refused
      lock                         held by the run that is writing
      part-START-STOP.parquet      users START … STOP - 1, in row order, without a gap between files

Every file is written under another name, synced, and then renamed, so that each file that has its final name is complete. When the
last user is ranked, the part files are merged into one file, which is renamed to the output in the same way; the folder is removed
last.
"""

import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recoserve.batch import parquet
from recoserve.batch.parquet import ArrowTable, RankingTables
from recoserve.batch.plan import differences
from recoserve.errors import OperatorError
from recoserve.fsync import fsync
from recoserve.search.query import Ranking

PLAN, LOCK, UNFINISHED = "plan.json", "lock", ".unfinished"
PART_ITEMS = 1 << 20  # items in a part file, about
NAME = re.compile(r"part-(\d+)-(\d+)\.parquet")


class PartFiles:
    """The part files of one output. They hold the first `finished_user_count` users. Only one thread may add rankings.

    Rankings are collected, and become a part file after `seconds` or `PART_ITEMS` items: a process that is killed loses that much
    work at most.
    """

    def __init__(self, folder: Path, tables: RankingTables, seconds: float) -> None:
        self._folder, self._tables, self._seconds = folder, tables, seconds
        self.finished_user_count = _read_finished_user_count(folder)
        self._next_user = self.finished_user_count
        self._pending: list[ArrowTable] = []
        self._pending_item_count = 0
        self._pending_since = time.monotonic()

    def add(self, first_user: int, rankings: Sequence[Ranking]) -> None:
        """Add the rankings of the next users, from row `first_user` on.

        Raises OSError where a part file can't be written; its rankings stay collected, and the next attempt includes them. Raises
        RuntimeError where `first_user` is not the next one: a gap would give every later user another user's items.
        """
        if first_user != self._next_user:
            raise RuntimeError(f"users from {first_user} were added where {self._next_user} is the next one")
        self._pending.append(self._tables.table(first_user, rankings))
        self._next_user += len(rankings)
        self._pending_item_count += sum(len(ranking.item_rows) for ranking in rankings)
        if self._pending_item_count >= PART_ITEMS or time.monotonic() - self._pending_since >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Write what is collected as a part file; raises OSError."""
        if self._pending:
            name = f"part-{self.finished_user_count:013d}-{self._next_user:013d}.parquet"
            self._tables.write(self._folder / (name + UNFINISHED), self._pending)
            _rename(self._folder / (name + UNFINISHED), self._folder / name)
        self.finished_user_count = self._next_user
        self._pending, self._pending_item_count, self._pending_since = [], 0, time.monotonic()

    def publish(self, output: Path) -> None:
        """Merge the part files into the output, and remove their folder; raises OperatorError where the output exists by now."""
        merged_path = self._folder / (output.name + UNFINISHED)
        self._tables.write(merged_path, (parquet.read_table(path) for path in _part_paths(self._folder)))
        if output.exists():
            raise output_exists(output)
        _rename(merged_path, output)
        # Last: if the process is killed before this, the next run finds the complete output and has only the folder to remove.
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def open_part_files(
    output: Path, plan: Mapping[str, Any], tables: RankingTables, seconds: float, restart: bool = False
) -> Iterator[PartFiles]:
    """The part files of an output. An earlier run's files are continued if it had the same plan, or deleted if `restart` is true.

    Raises OperatorError where an earlier run had another plan, where another run is writing, or where a part file is damaged.
    """
    folder = part_folder(output)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        for path in folder.iterdir():
            if path.name != LOCK and (restart or path.name.endswith(UNFINISHED)):
                path.unlink()
        _store_or_compare_plan(folder, output, plan)
        yield PartFiles(folder, tables, seconds)


def part_folder(output: Path) -> Path:
    """The folder of an output's part files."""
    return output.parent / f".{output.name}.partial"


def output_exists(output: Path) -> OperatorError:
    """The error for an output that exists already."""
    return OperatorError(f"{output} already exists; remove it or choose another name")


def _store_or_compare_plan(folder: Path, output: Path, plan: Mapping[str, Any]) -> None:
    path = folder / PLAN
    if not path.exists() and not _part_paths(folder):
        unfinished_path = folder / (PLAN + UNFINISHED)
        unfinished_path.write_text(json.dumps(plan, ensure_ascii=False), encoding="utf-8")
        fsync(unfinished_path)
        _rename(unfinished_path, path)
        return
    try:
        earlier = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        raise parquet.damaged_file(path) from None
    if phrases := differences(earlier, plan):
        raise OperatorError(
            f"{output} was begun with other options or another bundle: {'; '.join(phrases)}. Repeat the first command to continue, "
            f"or begin again with --restart, which discards what is in {folder}"
        )


def _read_finished_user_count(folder: Path) -> int:
    """The number of users in the part files; raises OperatorError for a gap between files and for a wrong number of rows in one."""
    next_user = 0
    for path in _part_paths(folder):
        name = NAME.fullmatch(path.name)
        if not name or int(name[1]) != next_user or parquet.count_rows(path) != int(name[2]) - next_user:
            raise parquet.damaged_file(path)
        next_user = int(name[2])
    return next_user


def _part_paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))  # the numbers have leading zeros, so names sort like numbers


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system releases however the process ends; raises OperatorError if another run holds it."""
    with open(folder / LOCK, "wb") as file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OperatorError(f"another run is writing to {folder}; wait for it, or choose another output") from None
        yield


def _rename(path: Path, target: Path) -> None:
    """Give a file, whose bytes are on the disk, its final name."""
    path.rename(target)
    fsync(target.parent)  # at once, since after a power failure no part file may be missing in front of a later one
