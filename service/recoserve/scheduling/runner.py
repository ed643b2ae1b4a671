"""Where a batch runs: on the event loop, or in the inference thread.

Runs belong in the thread, so that nothing else waits for them. But to hand a batch over and back costs two switches of the
interpreter between threads, which is more than a short run itself takes. So the event loop runs a batch of cheap queries, as long
as the model's recent cheap batches took less than `inline_seconds`. After a slow one, cheap batches go to the thread until the
remembered time, which shrinks by a tenth with each of them, is short enough.
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
RETAINED_PER_RUN = 0.9  # the remembered slowest time is multiplied by this at each cheap run


@dataclass(slots=True)
class RecentSlowest:
    """A decaying maximum of the seconds that a model's cheap batches took to rank and to encode; infinite before the first."""

    seconds: float = math.inf


class Runner:
    """Runs one batch at a time, and calls `deliver` with it on the event loop when it has run."""

    def __init__(self, deliver: Callable[[Batch], None], inline_seconds: float = INLINE_SECONDS) -> None:
        self._deliver = deliver
        self._inline_seconds = inline_seconds
        self._recent_slowest: WeakKeyDictionary[Model, RecentSlowest] = WeakKeyDictionary()
        self._handed_over: SimpleQueue[tuple[Batch, RecentSlowest] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, batch: Batch) -> None:
        """Run a batch on the event loop, or hand it to the thread."""
        recent = self._recent_slowest.get(batch.model) or self._recent_slowest.setdefault(batch.model, RecentSlowest())
        if batch.cheap and recent.seconds <= self._inline_seconds:
            execute(batch, recent)
            self._deliver(batch)
            return
        if not self._thread:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._work, args=(loop,), name="inference", daemon=True)
            self._thread.start()
        self._handed_over.put((batch, recent))

    async def close(self) -> None:
        """End the thread, once it has run what it was handed."""
        if self._thread:
            self._handed_over.put(None)
            await asyncio.to_thread(self._thread.join)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while handed_over := self._handed_over.get():
            execute(*handed_over)
            loop.call_soon_threadsafe(self._deliver, handed_over[0])


def execute(batch: Batch, recent: RecentSlowest) -> None:
    """Rank a batch, and encode the answers of all submissions whose last queries these are.

    May run in either thread, since only one batch is under way at a time. It writes `started_at`, `ranked_at`, `rankings` and
    `completed` of the batch, `rankings`, `run_seconds` and `failure` of its submissions, and `recent`; the event loop reads none of
    these before the batch is delivered.
    """
    batch_queries = [query for _, queries in batch.slices for query in queries]
    batch.started_at = time.monotonic()
    failed = False
    try:
        batch.rankings = batch.model.rank(batch_queries)
    except Exception as error:  # noqa: BLE001  # each query is ranked again, and what fails again reports its own error
        batch.rankings, failed = rank_one_by_one(batch.model, batch_queries, error), True
    batch.ranked_at = time.monotonic()
    rank_seconds = batch.ranked_at - batch.started_at
    start = 0
    for submission, queries in batch.slices:
        end = start + len(queries)
        submission.rankings += batch.rankings[start:end]
        submission.run_seconds += rank_seconds
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
            except Exception as error:  # noqa: BLE001  # passed on to the submission's future
                result = error
        batch.completed.append((submission, result))
    if batch.cheap:  # what isn't cheap says nothing about the next cheap batch
        total_seconds = time.monotonic() - batch.started_at
        remembered = 0.0 if recent.seconds == math.inf else recent.seconds * RETAINED_PER_RUN
        recent.seconds = max(total_seconds, remembered)


def rank_one_by_one(model: Model, queries: Sequence[AnyQuery], error: Exception) -> list[Ranking | Exception]:
    """Rank each query alone, after the whole batch raised `error`: a ranking or an exception for each, so only the faulty ones
    fail.

    A single query isn't ranked again.
    """
    if len(queries) == 1:
        return [error]
    rankings: list[Ranking | Exception] = []
    for query in queries:
        try:
            rankings += model.rank([query])
        except Exception as failure:  # noqa: BLE001  # passed on to the submission's future
            rankings.append(failure)
    return rankings


def first_failure(rankings: Sequence[Ranking | Exception]) -> Exception | None:
    """The error of the first query that failed; None where none did."""
    return next((ranking for ranking in rankings if isinstance(ranking, Exception)), None)
