"""A batch from its first user, or the first that is left, to the file in its place."""

import shutil
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recoserve.batch import parts, table
from recoserve.batch.parts import Parts
from recoserve.batch.plan import Plan, Questions
from recoserve.batch.progress import Tell, users_shown
from recoserve.errors import OperatorError
from recoserve.search.model import Model

MOST_VALUES = 1 << 15  # items in the answers of one run: each costs a block of vectors, so a large k takes fewer users at a time
WAITING = 4  # runs whose answers may wait to be written


@dataclass(frozen=True)
class Summary:
    """What a run did: users in the file, those of them found finished, seconds of ranking and in all, the file's bytes."""

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

    def told(self) -> str:
        """The summary in words."""
        earlier = f", {self.resumed_from:,} of them finished before" if self.resumed_from else ""
        return f"{self.users:,} users{earlier}; {self.seconds:,.1f} s, {self.users_per_second:,.0f} users/s; {self.bytes:,} bytes"


def refuse_finished(output: Path) -> None:
    """Raise OperatorError where the output is there already; cheap, to be called before a model is loaded for nothing."""
    if output.exists() and not parts.folder_of(output).exists():
        raise parts.exists(output)


def write_all(model: Model, plan: Plan, output: Path, batch_rows: int, part_seconds: float, restart: bool = False) -> Summary:
    """Rank every user and write the file; answers become Parquet in a thread beside the one that ranks.

    `batch_rows` users are ranked in one run, fewer where the model or k is large. An interrupted run of the same plan is gone on
    with. Raises OperatorError where the output is there already or can't be written, and where another plan was begun.
    """
    began = time.monotonic()
    document = plan.document()
    if output.exists():
        if restart or table.plan_of(output) != document:
            raise parts.exists(output)
        shutil.rmtree(parts.folder_of(output))  # the last run was killed between its last two steps
        return Summary(plan.users, plan.users, 0.0, 0.0, output.stat().st_size)
    with _told(output), parts.opened(output, document, table.Tables(model.bundle, document), part_seconds, restart) as found:
        resumed_from = found.done
        with users_shown(plan.users, resumed_from) as tell:
            _rank(model, plan, found, batch_rows, tell)
        ranked = time.monotonic()
        found.publish(output)
        return Summary(plan.users, resumed_from, ranked - began, time.monotonic() - began, output.stat().st_size)


def _rank(model: Model, plan: Plan, found: Parts, batch_rows: int, tell: Tell) -> None:
    """Rank the users that are left, and add their answers to the parts; what was ranked is added even where this ends early."""
    questions = Questions(model.bundle, plan)
    step = min(batch_rows, model.max_rows_per_run, max(1, MOST_VALUES // plan.k))
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as writer:
        try:
            for start in range(found.done, plan.users, step):
                users = range(start, min(start + step, plan.users))
                waiting.append(writer.submit(found.add, start, model.rank([questions.of(user) for user in users])))
                while len(waiting) > WAITING:
                    waiting.popleft().result()
                tell(users.stop)
        finally:
            waiting.append(writer.submit(found.flush))
        for future in waiting:
            future.result()


@contextmanager
def _told(output: Path) -> Iterator[None]:
    """A full disk and the like, as one sentence."""
    try:
        yield
    except OSError as error:
        raise OperatorError(
            f"can't write {output}: {error.strerror or error}; what is finished is kept, and the same command goes on with it"
        ) from error
