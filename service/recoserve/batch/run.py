"""Runs a batch: ranks every user who isn't ranked yet, and writes the output."""

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

MAX_ITEMS_PER_RUN = 1 << 15  # in the rankings of one run: each may need a block of vectors, so a large k means fewer users at once
MAX_UNWRITTEN_RUNS = 4  # whose rankings wait for the disk; then ranking waits too, so that memory stays bounded


@dataclass(frozen=True)
class Summary:
    """The results of a batch run: users in the output, how many of them earlier runs ranked, durations, and the output's size."""

    users: int
    resumed_from: int
    ranking_seconds: float
    seconds: float
    bytes: int

    @property
    def users_per_second(self) -> float:
        """The users ranked in this run, divided by the seconds of ranking."""
        return (self.users - self.resumed_from) / self.ranking_seconds if self.ranking_seconds else 0.0

    def document(self) -> dict[str, Any]:
        """The summary as a JSON object."""
        return {**asdict(self), "users_per_second": self.users_per_second}

    def in_words(self) -> str:
        """The summary as a line of text."""
        earlier = f", {self.resumed_from:,} of them finished before" if self.resumed_from else ""
        return f"{self.users:,} users{earlier}; {self.seconds:,.1f} s, {self.users_per_second:,.0f} users/s; {self.bytes:,} bytes"


def refuse_finished(output: Path) -> None:
    """Raise OperatorError if the output exists and no run is left to be finished, before a model is loaded in vain."""
    if output.exists() and not part_files.part_folder(output).exists():
        raise part_files.output_exists(output)


def write_all(model: Model, plan: Plan, output: Path, batch_rows: int, part_seconds: float, restart: bool = False) -> Summary:
    """Rank every user and write the output. An interrupted run of the same plan is continued, or discarded if `restart` is true.

    `batch_rows` users are ranked at a time, fewer where the model or k is large. A second thread writes the rankings. Raises
    OperatorError where the output exists or can't be written, and where an earlier run had another plan.
    """
    started_at = time.monotonic()
    plan_document = plan.document()
    if output.exists():
        if restart or parquet.read_plan(output) != plan_document:
            raise part_files.output_exists(output)
        # An earlier run was killed between its last two steps: the output is complete, and its part files are still there.
        shutil.rmtree(part_files.part_folder(output))
        return Summary(plan.users, plan.users, 0.0, 0.0, output.stat().st_size)
    tables = parquet.RankingTables(model.bundle, plan_document)
    with _disk_errors(output), part_files.open_part_files(output, plan_document, tables, part_seconds, restart) as parts:
        resumed_from = parts.finished_user_count
        with show_progress(plan.users, resumed_from) as report_ranked:
            _rank_remaining(model, plan, parts, batch_rows, report_ranked)
        ranked_at = time.monotonic()
        parts.publish(output)
        return Summary(plan.users, resumed_from, ranked_at - started_at, time.monotonic() - started_at, output.stat().st_size)


def _rank_remaining(model: Model, plan: Plan, parts: PartFiles, batch_rows: int, report_ranked: ReportRanked) -> None:
    queries = UserQueries(model.bundle, plan)
    users_per_run = min(batch_rows, model.max_rows_per_run, max(1, MAX_ITEMS_PER_RUN // plan.k))
    writes: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as writer:
        try:
            for start in range(parts.finished_user_count, plan.users, users_per_run):
                users = range(start, min(start + users_per_run, plan.users))
                rankings = model.rank([queries.query(user) for user in users])
                writes.append(writer.submit(parts.add, start, rankings))
                while len(writes) > MAX_UNWRITTEN_RUNS:
                    writes.popleft().result()
                report_ranked(users.stop)
        finally:
            # After Ctrl-C or an error too, what was ranked is written, so that the next run continues behind it.
            writes.append(writer.submit(parts.flush))
        for write in writes:
            write.result()


@contextmanager
def _disk_errors(output: Path) -> Iterator[None]:
    """Turn an OSError, such as that of a full disk, into an OperatorError that says how to continue."""
    try:
        yield
    except OSError as error:
        raise OperatorError(f"can't write {output}: {error.strerror or error}; to continue, run the same command again") from error
