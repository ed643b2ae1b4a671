"""What is finished of a batch: a hidden folder beside the output, from which any later run goes on.

    .NAME.partial/
      plan.json                    what is being written; another plan is refused
      lock                         held by the run that writes
      part-START-STOP.parquet      users START … STOP-1, in row order, without a gap

Every file is written under another name, synced, and renamed, so that each one that is there is whole. When the last user is
there, the parts become one file, which moves to the output's place in the same way; the folder goes last.
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

from recoserve.batch import table
from recoserve.batch.plan import differences
from recoserve.errors import OperatorError
from recoserve.fsync import fsync
from recoserve.search.query import Ranking

PLAN, LOCK, UNFINISHED = "plan.json", "lock", ".unfinished"
PART_VALUES = 1 << 20  # items in a part, at most about
NAME = re.compile(r"part-(\d+)-(\d+)\.parquet")


class Parts:
    """The parts of one output, `done` users so far; one thread adds to them.

    A part is finished after `seconds` or `PART_VALUES` items: that much work at most is lost where the process is killed.
    """

    def __init__(self, folder: Path, tables: table.Tables, seconds: float) -> None:
        self._folder, self._tables, self._seconds = folder, tables, seconds
        self.done = _finished(folder)
        self._next = self.done
        self._held: list[table.Table] = []
        self._values = 0
        self._began = time.monotonic()

    def add(self, first_user: int, answers: Sequence[Ranking]) -> None:
        """The next users' answers; raises OSError where they can't be written, and then they are written with the next ones."""
        if first_user != self._next:
            raise RuntimeError(f"users from {first_user} were added where {self._next} is the next one")
        self._held.append(self._tables.of(first_user, answers))
        self._next += len(answers)
        self._values += sum(len(answer.item_rows) for answer in answers)
        if self._values >= PART_VALUES or time.monotonic() - self._began >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Finish the part that is being collected."""
        if self._held:
            name = f"part-{self.done:013d}-{self._next:013d}.parquet"
            self._tables.write(self._folder / (name + UNFINISHED), self._held)
            _rename(self._folder / (name + UNFINISHED), self._folder / name)
        self.done = self._next
        self._held, self._values, self._began = [], 0, time.monotonic()

    def publish(self, output: Path) -> None:
        """Make one file of all parts, in its place, and remove the folder."""
        merged = self._folder / (output.name + UNFINISHED)
        self._tables.write(merged, (table.read(path) for path in _paths(self._folder)))
        if output.exists():
            raise exists(output)
        _rename(merged, output)
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def opened(
    output: Path, document: Mapping[str, Any], tables: table.Tables, seconds: float, restart: bool = False
) -> Iterator[Parts]:
    """The parts of an output, those of an earlier run of the same plan included, unless `restart` gives them up.

    Raises OperatorError where another plan was begun, where another run is at it, or where a part is damaged.
    """
    folder = folder_of(output)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        for path in folder.iterdir():
            if path.name != LOCK and (restart or path.name.endswith(UNFINISHED)):
                path.unlink()
        _agree(folder, output, document)
        yield Parts(folder, tables, seconds)


def folder_of(output: Path) -> Path:
    """Where the parts of an output are."""
    return output.parent / f".{output.name}.partial"


def exists(output: Path) -> OperatorError:
    """What to say of an output that is there already."""
    return OperatorError(f"{output} already exists; remove it or choose another name")


def _agree(folder: Path, output: Path, document: Mapping[str, Any]) -> None:
    """Begin with this plan, or go on with it."""
    place = folder / PLAN
    if not place.exists() and not _paths(folder):
        unfinished = folder / (PLAN + UNFINISHED)
        unfinished.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        fsync(unfinished)
        _rename(unfinished, place)
        return
    try:
        begun = json.loads(place.read_bytes())
    except (FileNotFoundError, ValueError):
        raise table.damaged(place) from None
    if found := differences(begun, document):
        raise OperatorError(
            f"{output} was begun otherwise: {'; '.join(found)}. Repeat the first command to go on with it, "
            f"or begin again with --restart, which removes {folder}"
        )


def _finished(folder: Path) -> int:
    """Users in the finished parts."""
    stop = 0
    for path in _paths(folder):
        name = NAME.fullmatch(path.name)
        if not name or int(name[1]) != stop or table.count(path) != int(name[2]) - stop:
            raise table.damaged(path)
        stop = int(name[2])
    return stop


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder; the system lets go of it however the process ends."""
    with open(folder / LOCK, "wb") as file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OperatorError(f"another run is writing to {folder}; wait for it, or choose another output") from None
        yield


def _rename(path: Path, to: Path) -> None:
    path.rename(to)
    fsync(to.parent)
