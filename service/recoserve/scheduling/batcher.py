"""Batches of what waits: one run at a time takes from a bounded queue.

    IDLE --submit--> DUE --dispatch--> RUNNING --deliver, nothing waits--> IDLE
      |              ^  |                |  |
      |              |  +-more arrived   |  +--deliver, rows wait--> DUE
      |              +----in this turn   |
      +--submit, after SOLO_RUNS---------+

A submission is admitted or refused at once. A batch is never held back to grow: the next run takes what waits as soon as a turn of
the event loop (one pass over the callbacks that are due) brings no more of it, since the requests that arrive together are read in
one turn or in consecutive ones. If one row came alone time after time, that turn would be spent for nothing, so the row is run at
once; two in one turn end this.

Deadlines hold while rows wait and while they run. If a client disconnects, its task is cancelled and its rows that still wait are
removed; rows that run count against the bound until their run ends. All state belongs to the event loop; see `runner` for what the
inference thread may touch. After `close`, IDLE is final.
"""

import asyncio
import math
import time
from enum import Enum
from functools import cached_property

from recoserve import metrics
from recoserve.errors import DeadlineExceeded, NotReady, Overloaded
from recoserve.scheduling.batch import Batch, Completed, Encoder, Submission, T, Work
from recoserve.scheduling.deadlines import DeadlineTimer
from recoserve.scheduling.queue import RowQueue
from recoserve.scheduling.runner import INLINE_SECONDS, Runner
from recoserve.scheduling.statistics import BatchStatistics

MAX_GATHERING_TURNS = 16  # of the event loop, over which a batch may grow by what is arriving
SOLO_RUNS = 64  # of one row, one after another: then the next row isn't expected to have company


class BatcherState(Enum):
    """What the batcher waits for: rows, the end of this turn of the event loop, or the run under way."""

    IDLE = "idle"
    DUE = "due"
    RUNNING = "running"


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
        self._solo_runs = 0  # since the last run of several rows
        self._ran_in_this_turn = False  # a solo run
        self._closing = False
        metrics.QUEUE_DEPTH.set_function(lambda: self._queue.rows + self._running_rows)

    async def submit(self, work: Work, encoder: Encoder[T], deadline: float) -> Completed[T]:
        """Rank the work's queries, each as if it were alone, and return what the encoder makes of their rankings.

        The encoder is called where the model runs, so that no bytes are made on the event loop of a busy service. `deadline` is on
        the clock of `time.monotonic`. Raises Overloaded where the rows don't fit, DeadlineExceeded where the time is up before the
        result is there, NotReady once the batcher closes, and whatever `Model.rank` and the encoder raise for these queries.
        """
        now = time.monotonic()
        submission = Submission(work.model, work.queries, encoder, work.cheap, deadline, now, self._loop.create_future())
        self._admit(submission, now)
        try:
            return await submission.future
        except asyncio.CancelledError:
            if self._queue.withdraw(submission):
                metrics.REJECTED.labels("disconnected").inc()
            raise

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

    def _admit(self, submission: Submission, now: float) -> None:
        if self._closing:
            metrics.REJECTED.labels("not_ready").inc()
            raise NotReady("the service is stopping")
        if now >= submission.deadline:
            raise _deadline_exceeded()
        try:
            self._queue.admit(submission, self._running_rows)
        except Overloaded:
            metrics.REJECTED.labels("overloaded").inc()
            raise
        if submission.deadline < self._deadlines.due_at:
            self._deadlines.set(submission.deadline, now)
        if self._state is BatcherState.IDLE:
            self._leave_idle()

    def _leave_idle(self) -> None:
        if self._ran_in_this_turn:  # this row has company after all
            self._solo_runs = 0
        if self._solo_runs < SOLO_RUNS:
            self._dispatch_soon()
            return
        self._ran_in_this_turn = True
        self._loop.call_soon(self._end_turn)
        self._start()

    def _end_turn(self) -> None:
        self._ran_in_this_turn = False

    def _dispatch_soon(self) -> None:
        """After the requests that arrive in this turn of the loop."""
        self._state = BatcherState.DUE
        self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """Start a run, unless nothing waits any more or rows are still arriving."""
        if self._deadlines.due_at <= time.monotonic():
            self._deadlines.ring()
        rows = self._queue.rows
        if not rows:
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
        """Give the callers of a batch that has run their results."""
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
        """Fail the submissions whose deadline has passed; the earliest deadline of the others, or infinity."""
        earliest = math.inf
        for submission in self._unfinished():
            if submission.future.done():
                continue
            if submission.deadline <= now:
                self._queue.withdraw(submission)
                submission.future.set_exception(_deadline_exceeded())
            else:
                earliest = min(earliest, submission.deadline)
        return earliest


def _deadline_exceeded() -> DeadlineExceeded:
    metrics.REJECTED.labels("deadline").inc()
    return DeadlineExceeded("the request's time was spent before its answer was ready")
