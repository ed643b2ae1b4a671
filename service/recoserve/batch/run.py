"""A batch run: rank every user that isn't ranked yet, and write the output."""

import shutil
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recoserve.batch import parquet, part_files
from recoserve.batch.part_files import PartFiles
from recoserve.batch.plan import Plan, UserQueries
from recoserve.batch.progress import ReportRanked, show_progress
from recoserve.errors import OperatorError
from recoserve.search.model import Model

MAX_ITEMS_PER_RUN = 1 << 15  # in all rankings of one run: each costs a block of vectors, so a large k means fewer users at a time
MAX_WAITING_RUNS = 4  # whose rankings wait to be written: ranking waits for the disk, and the memory stays bounded


@dataclass(frozen=True)
class Summary:
    """What a batch run did: users in the output, how many of them an earlier run had ranked, durations, the output's size."""

    users: int
    resumed_from: int
    ranking_seconds: float
    seconds: float
    bytes: int

    @property
    def users_per_second(self) -> float:
        """Users ranked in this run by seconds of ranking."""
        return (self.users - self.resumed_from) / self.ranking_seconds if self.ranking_seconds else 0.0

    def document(self) -> dict[str, Any]:
        """The summary as a JSON object."""
        return {**asdict(self), "users_per_second": self.users_per_second}

    def in_words(self) -> str:
        """The summary as a line of text."""
        earlier = f", {self.resumed_from:,} of them finished before" if self.resumed_from else ""
        return f"{self.users:,} users{earlier}; {self.seconds:,.1f} s, {self.users_per_second:,.0f} users/s; {self.bytes:,} bytes"


def refuse_finished(output: Path) -> None:
    """Raise OperatorError where the output exists, before a model is loaded for nothing."""
    if output.exists() and not part_files.part_folder(output).exists():
        raise part_files.output_exists(output)


def write_all(model: Model, plan: Plan, output: Path, batch_rows: int, part_seconds: float, restart: bool = False) -> Summary:
    """Rank every user and write the output; an interrupted run of the same plan is continued, unless `restart` discards it.

    `batch_rows` users are ranked at a time, fewer where the model or k is large. Rankings become Parquet in a second thread. Raises
    OperatorError where the output exists or can't be written, and where an earlier run had another plan.
    """
    started = time.monotonic()
    document = plan.document()
    if output.exists():
        if restart or parquet.read_plan(output) != document:
            raise part_files.output_exists(output)
        # An earlier run was killed between its last two steps: the output is complete, and its part files are still there.
        shutil.rmtree(part_files.part_folder(output))
        return Summary(plan.users, plan.users, 0.0, 0.0, output.stat().st_size)
    tables = parquet.RankingTables(model.bundle, document)
    with _disk_errors(output), part_files.open_part_files(output, document, tables, part_seconds, restart) as parts:
        resumed_from = parts.finished_users
        with show_progress(plan.users, resumed_from) as report_ranked:
            _rank_remaining(model, plan, parts, batch_rows, report_ranked)
        ranked = time.monotonic()
        parts.publish(output)
        return Summary(plan.users, resumed_from, ranked - started, time.monotonic() - started, output.stat().st_size)


def _rank_remaining(model: Model, plan: Plan, parts: PartFiles, batch_rows: int, report_ranked: ReportRanked) -> None:
    queries = UserQueries(model.bundle, plan)
    users_per_run = min(batch_rows, model.max_rows_per_run, max(1, MAX_ITEMS_PER_RUN // plan.k))
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as writer:
        try:
            for start in range(parts.finished_users, plan.users, users_per_run):
                users = range(start, min(start + users_per_run, plan.users))
                rankings = model.rank([queries.query(user) for user in users])
                waiting.append(writer.submit(parts.add, start, rankings))
                while len(waiting) > MAX_WAITING_RUNS:
                    waiting.popleft().result()
                report_ranked(users.stop)
        finally:
            # After Ctrl-C or an error too: what was ranked is written, and the next run goes on after it.
            waiting.append(writer.submit(parts.flush))
        for future in waiting:
            future.result()


@contextmanager
def _disk_errors(output: Path) -> Iterator[None]:
    """Turn an OSError, such as that of a full disk, into one sentence that says how to go on."""
    try:
        yield
    except OSError as error:
        raise OperatorError(
            f"can't write {output}: {error.strerror or error}; what is finished is kept, and the same command goes on with it"
        ) from error
