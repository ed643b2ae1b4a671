"""Where a batch runs: on the event loop, or in the inference thread.

Runs belong in the thread, so that nothing else waits for them. But to hand a batch over and back costs two switches of the
interpreter between threads, which is more than a short run itself takes. So the event loop runs a batch of cheap queries, as long
as the model's recent batches of that kind were shorter than `inline_seconds`; one slow run sends the following ones to the thread,
until the memory of it has faded.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, cast
from weakref import WeakKeyDictionary

from recoserve.scheduling.batch import Batch, Completed
from recoserve.search.model import Model
from recoserve.search.query import AnyQuery, Ranking

INLINE_SECONDS = 2e-3
FADING = 0.9  # how much of the slowest run is remembered from one run to the next


@dataclass(slots=True)
class RunTime:
    """Seconds of the slowest of a model's recent runs of cheap queries; infinite before the first."""

    slowest: float = math.inf


class Runner:
    """Runs one batch at a time, and calls `deliver` with it on the event loop when it has run."""

    def __init__(self, deliver: Callable[[Batch], None], inline_seconds: float = INLINE_SECONDS) -> None:
        self._deliver = deliver
        self._inline_seconds = inline_seconds
        self._run_times: WeakKeyDictionary[Model, RunTime] = WeakKeyDictionary()
        self._handed_over: SimpleQueue[tuple[Batch, RunTime] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, batch: Batch) -> None:
        """Run a batch here, or hand it to the thread."""
        run_time = self._run_times.get(batch.model) or self._run_times.setdefault(batch.model, RunTime())
        if batch.cheap and run_time.slowest <= self._inline_seconds:
            execute(batch, run_time)
            self._deliver(batch)
            return
        if not self._thread:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._work, args=(loop,), name="inference", daemon=True)
            self._thread.start()
        self._handed_over.put((batch, run_time))

    async def close(self) -> None:
        """End the thread, once it has run what it was handed."""
        if self._thread:
            self._handed_over.put(None)
            await asyncio.to_thread(self._thread.join)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while handed_over := self._handed_over.get():
            execute(*handed_over)
            loop.call_soon_threadsafe(self._deliver, handed_over[0])


def execute(batch: Batch, run_time: RunTime) -> None:
    """Rank a batch, and encode the answers of all submissions whose last queries these are.

    Writes to `batch`, its submissions and `run_time` alone, in whichever thread it runs: only one batch is under way at a time, and
    the event loop reads none of these before the batch is delivered.
    """
    batch_queries = [query for _, queries in batch.slices for query in queries]
    batch.started_at = time.monotonic()
    failed = False
    try:
        batch.rankings = batch.model.rank(batch_queries)
    except Exception as error:  # noqa: BLE001  # nothing is lost: the caller raises it
        batch.rankings, failed = rank_one_by_one(batch.model, batch_queries, error), True
    batch.ranked_at = time.monotonic()
    seconds, start = batch.ranked_at - batch.started_at, 0
    for submission, queries in batch.slices:
        end = start + len(queries)
        submission.rankings += batch.rankings[start:end]
        submission.run_seconds += seconds
        start = end
        if failed:
            submission.failure = submission.failure or first_failure(submission.rankings)
        if len(submission.rankings) < len(submission.queries) or submission.future.done():
            continue  # more of its queries are still to run, or nobody waits for it any more
        result: Completed[Any] | Exception | None = submission.failure
        if result is None:
            try:
                value = submission.encoder.encode(cast(list[Ranking], submission.rankings))
                queue_seconds = batch.ranked_at - submission.submitted_at - submission.run_seconds
                result = Completed(value, queue_seconds, submission.run_seconds)
            except Exception as error:  # noqa: BLE001  # nothing is lost: the caller raises it
                result = error
        batch.completed.append((submission, result))
    if batch.cheap:  # what isn't cheap says nothing about the next cheap batch
        seconds = time.monotonic() - batch.started_at
        run_time.slowest = seconds if run_time.slowest == math.inf else max(seconds, run_time.slowest * FADING)


def rank_one_by_one(model: Model, queries: Sequence[AnyQuery], error: Exception) -> list[Ranking | Exception]:
    """Each query's ranking, or the error it raises, after a run of all of them raised `error`: only the query at fault fails."""
    if len(queries) == 1:
        return [error]
    rankings: list[Ranking | Exception] = []
    for query in queries:
        try:
            rankings += model.rank([query])
        except Exception as failure:  # noqa: BLE001  # nothing is lost: the caller raises it
            rankings.append(failure)
    return rankings


def first_failure(rankings: Sequence[Ranking | Exception]) -> Exception | None:
    """The error of the first query that failed; None where none did."""
    return next((ranking for ranking in rankings if isinstance(ranking, Exception)), None)
