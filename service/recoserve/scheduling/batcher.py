"""Collects waiting queries into batches and runs one batch at a time; the queue is bounded. A row, here, is one query.

    IDLE     --submit--------------------------------------------------> DUE
    IDLE     --submit, after SOLO_RUNS one-row runs in succession------> RUNNING
    DUE      --dispatch------------------------------------------------> RUNNING
    DUE      --dispatch, rows still arrive (MAX_GATHERING_TURNS times)-> DUE
    DUE      --dispatch, nothing waits any more------------------------> IDLE
    RUNNING  --deliver, rows wait--------------------------------------> DUE
    RUNNING  --deliver, nothing waits----------------------------------> IDLE

A submission is admitted or refused at once. No timer delays a batch: requests that arrive together are read in one turn of the
event loop (one pass over the callbacks that are due) or in consecutive ones, so the batcher starts a run after the first turn in
which no row arrived, once the batch is full, or after MAX_GATHERING_TURNS turns. After many one-row runs in succession even that
turn isn't worth it: a submission that arrives while the batcher is idle runs at once. A run of several rows ends this, and so does
a second submission in the turn of a run that has already ended.

Deadlines hold while rows wait and while they run. If a client disconnects, its task is cancelled and its waiting rows are removed;
running rows count towards `max_queue_rows` until their run ends. All state belongs to the event loop; `runner.execute` says what
the inference thread writes. After `close` the state stays IDLE.
"""

import asyncio
import math
import time
from collections.abc import Callable
from enum import Enum
from functools import cached_property
from typing import Any

from recoserve import metrics
from recoserve.errors import DeadlineExceeded, NotReady, Overloaded
from recoserve.scheduling.batch import Batch, Completed, Encoder, Submission, T, Work
from recoserve.scheduling.deadlines import DeadlineTimer
from recoserve.scheduling.queue import RowQueue
from recoserve.scheduling.runner import INLINE_SECONDS, Runner
from recoserve.scheduling.statistics import BatchStatistics

MAX_GATHERING_TURNS = 16  # event loop turns for which a batch may wait while rows keep arriving
SOLO_RUNS = 64  # after so many one-row runs in succession a submission runs without waiting for others


class BatcherState(Enum):
    """What the batcher waits for: rows, the end of this turn of the event loop, or the run under way."""

    IDLE = "idle"
    DUE = "due"
    RUNNING = "running"


class PendingResult(asyncio.Future[Completed[Any]]):
    """The result of a submission. If the task that awaits it is cancelled, asyncio cancels it, and the waiting rows are removed.

    A future rather than a coroutine around one: every request would pay for its frame.
    """

    withdraw: Callable[["PendingResult"], None]

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the result, unless it is there already."""
        cancelled = super().cancel(msg)
        if cancelled:
            self.withdraw(self)
        return cancelled


class Batcher:
    """Ranks what its callers submit; at most `max_queue_rows` rows wait or run, at most `max_batch_rows` in one run.

    `max_submission_rows` is how many rows a caller should submit at once: more would be refused, or run in several batches anyway.
    """

    def __init__(self, max_queue_rows: int, max_batch_rows: int, inline_seconds: float = INLINE_SECONDS) -> None:
        self.max_submission_rows = min(max_batch_rows, max_queue_rows)
        self._max_batch_rows = max_batch_rows
        self._state = BatcherState.IDLE
        self._queue = RowQueue(max_queue_rows, max_batch_rows)
        self._running: Batch | None = None
        self._runner = Runner(self._deliver, inline_seconds)
        self._deadlines = DeadlineTimer(self._expire)
        self._statistics = BatchStatistics()
        self._gathering_turns, self._gathered_rows = 0, 0
        self._solo_runs = 0  # one-row runs in succession; 0 again after two submissions in one turn
        self._ran_ungathered = False  # a run has started in this turn without waiting for others
        self._closing = False
        metrics.QUEUE_DEPTH.set_function(lambda: self._queue.rows + self._running_rows)

    def submit(self, work: Work, encoder: Encoder[T], deadline: float) -> asyncio.Future[Completed[T]]:
        """Rank the work's queries; the future gets the encoder's value with the waiting and the running time.

        Each ranking is the same as if its query had been ranked alone. The encoder runs in the thread that ran the model. Batches
        that aren't cheap, or whose model was slow lately, run in the inference thread, so that their JSON doesn't hold up the event
        loop. `deadline` is a value of `time.monotonic()`. Raises Overloaded if the queue has no room for the rows, DeadlineExceeded
        if the deadline has passed, and NotReady after `close` was called. The future fails with DeadlineExceeded if the deadline
        passes first, and with whatever `Model.rank` and the encoder raise for these queries.
        """
        now = time.monotonic()
        future = PendingResult(loop=self._loop)
        future.withdraw = self._withdraw
        submission = Submission(work.model, work.queries, encoder, work.cheap, deadline, now, future)
        self._admit(submission, now)
        return future

    async def close(self) -> None:
        """Refuse what comes from now on, answer what was admitted, and end the thread."""
        self._closing = True
        while unanswered := [submission.future for submission in self._unfinished() if not submission.future.done()]:
            await asyncio.wait(unanswered)
        await self._runner.close()
        self._statistics.flush()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    @property
    def _running_rows(self) -> int:
        return self._running.rows if self._running else 0

    def _withdraw(self, result: PendingResult) -> None:
        """Remove the waiting rows of a submission that nobody waits for any more."""
        # It happens seldom, so it may take a search. A result that referred to its submission would be a reference cycle, which
        # the garbage collector would have to find after every request.
        submission = next((waiting for waiting in self._queue if waiting.future is result), None)
        if submission and self._queue.withdraw(submission):
            metrics.REJECTED.labels("disconnected").inc()

    def _admit(self, submission: Submission, now: float) -> None:
        if self._closing:
            metrics.REJECTED.labels("not_ready").inc()
            raise NotReady("the service is stopping")
        if now >= submission.deadline:
            raise _count_deadline_exceeded()
        try:
            self._queue.admit(submission, self._running_rows)
        except Overloaded:
            metrics.REJECTED.labels("overloaded").inc()
            raise
        if submission.deadline < self._deadlines.next_deadline:
            self._deadlines.set(submission.deadline, now)
        if self._state is BatcherState.IDLE:
            self._leave_idle()

    def _leave_idle(self) -> None:
        if self._ran_ungathered:  # the second submission in this turn: gather again
            self._solo_runs = 0
        if self._solo_runs < SOLO_RUNS:
            self._dispatch_soon()
            return
        self._ran_ungathered = True
        self._loop.call_soon(self._end_turn)
        self._start()

    def _end_turn(self) -> None:
        self._ran_ungathered = False

    def _dispatch_soon(self) -> None:
        """Schedule `_dispatch` behind the callbacks of this turn, so that the requests that they read join the batch."""
        self._state = BatcherState.DUE
        self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """Start a run; or go idle, if nothing waits any more; or wait for one more turn, if rows are still arriving."""
        if self._deadlines.next_deadline <= time.monotonic():
            self._deadlines.fire()
        rows = self._queue.rows
        if not rows:
            self._gathered_rows = self._gathering_turns = 0
            self._state = BatcherState.IDLE
        elif self._gathered_rows < rows < self._max_batch_rows and self._gathering_turns < MAX_GATHERING_TURNS:
            self._gathered_rows = rows
            self._gathering_turns += 1
            self._dispatch_soon()
        else:
            self._gathered_rows = self._gathering_turns = 0
            self._start()

    def _start(self) -> None:
        self._state = BatcherState.RUNNING
        self._running = batch = self._queue.next_batch()
        self._solo_runs = self._solo_runs + 1 if batch.rows == 1 else 0
        self._runner.run(batch)

    def _deliver(self, batch: Batch) -> None:
        """Pass each completed submission its result or error, after its batch has run."""
        self._running = None
        if self._queue.rows:
            self._dispatch_soon()
        else:
            self._state = BatcherState.IDLE
        for submission, result in batch.completed:
            if submission.future.done():
                continue  # its deadline passed, or its caller left, while it ran
            if isinstance(result, Exception):
                submission.future.set_exception(result)
            else:
                submission.future.set_result(result)
        self._statistics.record(batch)

    def _unfinished(self) -> list[Submission]:
        running = [submission for submission, _ in self._running.slices] if self._running else []
        return list(dict.fromkeys([*running, *self._queue]))

    def _expire(self, now: float) -> float:
        """Fail the submissions whose deadline has passed. Returns the earliest deadline of the others, or infinity."""
        earliest = math.inf
        for submission in self._unfinished():
            if submission.future.done():
                continue
            if submission.deadline <= now:
                self._queue.withdraw(submission)
                submission.future.set_exception(_count_deadline_exceeded())
            else:
                earliest = min(earliest, submission.deadline)
        return earliest


def _count_deadline_exceeded() -> DeadlineExceeded:
    metrics.REJECTED.labels("deadline").inc()
    return DeadlineExceeded("the request's deadline passed before its answer was ready")
