"""Micro-batches: a bounded queue of rows, and one run at a time that takes from it.

A submission is admitted or refused at once. When no run is under way, the next takes what waits, up to `max_batch_rows`, as soon
as a turn of the event loop brings no more of it; it is never held back to grow. A caller that comes alone time after time is served
at once, until two come together. Deadlines hold while rows wait and while they
run; a caller that is gone before its turn is never computed. Rows are counted, not submissions, from their admission to the end
of their run.

Runs belong to the inference thread, so that nothing else waits for them; but while a model's are as short as `brief_seconds`,
handing a batch of brief queries over and back costs more than the run, and the event loop does it itself. All state belongs to
the event loop: the thread is given one batch at a time and changes nothing else.
"""

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from recoserve import metrics
from recoserve.errors import DeadlineExceeded, NotReady, Overloaded
from recoserve.search.model import Model
from recoserve.search.query import AnyQuery, Ranking

T = TypeVar("T")
SHORTEST_ALARM = 1e-3  # seconds; event loops count in milliseconds
BRIEF_SECONDS = 2e-3
MOST_TURNS = 16  # of the loop that a batch may gather what is arriving
ALONE = 64  # runs of one row on end, after which the next row is not expected to have company
BULK = 100  # runs that the metrics are told of at once
FADING = 0.9  # how much of the slowest run is remembered from one run to the next


class Done(NamedTuple, Generic[T]):
    """A submission's result, and how long its rows waited and ran, in seconds."""

    result: T
    queue_seconds: float
    run_seconds: float


@dataclass(slots=True, eq=False)
class _Submission:
    """Some queries of one caller; `taken` of them have been given to the thread, which collects their answers."""

    model: Model
    queries: Sequence[AnyQuery]
    finish: Callable[[list[Ranking]], Any]
    deadline: float
    submitted_at: float
    future: asyncio.Future[Done[Any]]
    brief: bool
    taken: int = 0
    run_seconds: float = 0.0
    answers: list[Ranking | Exception] = field(default_factory=list)

    def outcome(self, ended: float) -> Done[Any] | Exception:
        """What the caller gets once every query is answered: one that failed fails them all."""
        ranked = [answer for answer in self.answers if isinstance(answer, Ranking)]
        if len(ranked) < len(self.answers):
            return next(answer for answer in self.answers if isinstance(answer, Exception))
        try:
            return Done(self.finish(ranked), ended - self.submitted_at - self.run_seconds, self.run_seconds)
        except Exception as error:  # noqa: BLE001  # nothing is lost: the caller raises it
            return error


@dataclass(slots=True)
class _Pace:
    """Seconds of the slowest of a model's recent runs of brief queries; endless before the first."""

    slowest: float = math.inf

    def add(self, seconds: float) -> None:
        self.slowest = max(seconds, self.slowest * FADING) if self.slowest < math.inf else seconds


@dataclass(slots=True)
class _Batch:
    """Queries of one model, in pieces of the submissions that they come from."""

    model: Model
    pace: _Pace
    pieces: list[tuple[_Submission, Sequence[AnyQuery]]]
    rows: int
    brief: bool
    started: float = 0.0
    ended: float = 0.0
    finished: float = 0.0
    answers: list[Ranking | Exception] = field(default_factory=list)
    outcomes: list[tuple[_Submission, Done[Any] | Exception]] = field(default_factory=list)

    def run(self) -> None:
        """Rank, and finish every submission whose last piece this is."""
        self.started = time.monotonic()
        self.answers = _rank(self.model, [query for _, queries in self.pieces for query in queries])
        self.ended = time.monotonic()
        answers = iter(self.answers)
        for submission, queries in self.pieces:
            submission.answers += islice(answers, len(queries))
            submission.run_seconds += self.ended - self.started
            if len(submission.answers) == len(submission.queries) and not submission.future.done():
                self.outcomes.append((submission, submission.outcome(self.ended)))
        self.finished = time.monotonic()


@dataclass(slots=True)
class _Runs:
    """What the metrics are told of some batches: rows and seconds of each, waits and ways of every row."""

    rows: list[int] = field(default_factory=list)
    seconds: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def add(self, batch: _Batch) -> None:
        info, started = batch.model.manifest, batch.started
        self.rows.append(batch.rows)
        self.seconds.setdefault((info.name, info.version, batch.model.provider), []).append(batch.ended - started)
        self.waits += [started - submission.submitted_at for submission, queries in batch.pieces for _ in queries]
        self.paths += [answer.path for answer in batch.answers if isinstance(answer, Ranking)]

    def tell(self) -> None:
        metrics.BATCH_ROWS.observe_many(self.rows)
        metrics.QUEUE_DURATION.observe_many(self.waits)
        for path, rows in Counter(self.paths).items():
            if path:
                metrics.RETRIEVAL_ROWS.labels(path).inc(rows)
        for labels, seconds in self.seconds.items():
            metrics.INFERENCE_DURATION.labels(*labels).observe_many(seconds)


class Batcher:
    """Ranks what its callers submit; `max_queue_rows` bounds what waits or runs, `max_batch_rows` what runs at once.

    `most_rows` is what one submission is best kept to.
    """

    def __init__(self, max_queue_rows: int, max_batch_rows: int, brief_seconds: float = BRIEF_SECONDS) -> None:
        self._brief_seconds = brief_seconds
        self._paces: WeakKeyDictionary[Model, _Pace] = WeakKeyDictionary()
        self._max_queue_rows = max_queue_rows
        self._max_batch_rows = max_batch_rows
        self.most_rows = min(max_batch_rows, max_queue_rows)
        self._rows = 0
        self._waiting: dict[_Submission, None] = {}
        self._running: _Batch | None = None
        self._called = False  # `_dispatch` is due at the end of this turn of the loop
        self._turns, self._gathered = 0, 0
        self._alone = 0  # runs of one row since the last one of more
        self._served = False  # a row in this turn of the loop, at once
        self._closing = False
        self._alarm_at = math.inf  # no later than the earliest deadline of all
        self._alarm: asyncio.TimerHandle | None = None
        self._batches: SimpleQueue[_Batch | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._runs = _Runs()
        metrics.QUEUE_DEPTH.set_function(lambda: self._rows)
        metrics.BUFFERS.register(self)

    async def run(
        self, model: Model, queries: Sequence[AnyQuery], finish: Callable[[list[Ranking]], T], deadline: float, brief: bool = True
    ) -> Done[T]:
        """Rank one or more queries with `model`, each as if it were alone, and give what `finish` makes of their answers.

        `finish` runs where the model does; `deadline` is on the clock of `time.monotonic`. `brief` tells that the queries and
        `finish` cost no more than others of this model: what isn't brief never runs on the event loop.
        Raises Overloaded where the rows don't fit, DeadlineExceeded where the time is up before the result is there,
        NotReady once the batcher closes, and whatever `Model.rank` raises for one of these queries.
        """
        submission = self._admit(model, queries, finish, deadline, brief)
        try:
            return await submission.future
        except asyncio.CancelledError:
            if self._withdraw(submission):
                metrics.REJECTED.labels("disconnected").inc()
            raise

    async def close(self) -> None:
        """Refuse what comes from now on, answer what was admitted, and end the thread."""
        self._closing = True
        while open_futures := [submission.future for submission in self._outstanding() if not submission.future.done()]:
            await asyncio.wait(open_futures)
        if self._thread:
            self._batches.put(None)
            await asyncio.to_thread(self._thread.join)
        self.flush()

    def _admit(
        self, model: Model, queries: Sequence[AnyQuery], finish: Callable[[list[Ranking]], Any], deadline: float, brief: bool
    ) -> _Submission:
        if self._closing:
            metrics.REJECTED.labels("not_ready").inc()
            raise NotReady("the service is stopping")
        if self._rows + len(queries) > self._max_queue_rows:
            metrics.REJECTED.labels("overloaded").inc()
            raise Overloaded("too many requests are waiting; try again shortly")
        now = time.monotonic()
        if now >= deadline:
            raise _too_late()
        submission = _Submission(model, queries, finish, deadline, now, self._loop.create_future(), brief)
        self._waiting[submission] = None
        self._rows += len(queries)
        if deadline < self._alarm_at:
            self._set_alarm(deadline, now)
        if not (self._running or self._called):
            if self._served:
                self._alone = 0
            if self._alone >= ALONE:
                self._serve_at_once()
            else:
                self._call_dispatch()
        return submission

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def _call_dispatch(self) -> None:
        """After the requests that have arrived in the same turn of the loop."""
        if not self._called:
            self._called = True
            self._loop.call_soon(self._dispatch)

    def _withdraw(self, submission: _Submission) -> bool:
        """Drop what still waits of a submission; whether there was anything."""
        if submission not in self._waiting:
            return False
        del self._waiting[submission]
        self._rows -= len(submission.queries) - submission.taken
        return True

    def _outstanding(self) -> list[_Submission]:
        running = [submission for submission, _ in self._running.pieces] if self._running else []
        return list(dict.fromkeys([*running, *self._waiting]))

    def _dispatch(self) -> None:
        """Run the next batch, if none is running and anything waits."""
        self._called = False
        if self._alarm_at <= time.monotonic():
            self._expire()
        if self._running or not self._waiting:
            return
        if self._gathering():
            self._call_dispatch()
        else:
            self._start()

    def _serve_at_once(self) -> None:
        self._served = True
        self._loop.call_soon(self._end_turn)
        self._start()

    def _end_turn(self) -> None:
        self._served = False

    def _start(self) -> None:
        """Run what waits: here, if it takes no longer than to hand it over, or else in the thread."""
        batch = self._running = self._next_batch()
        self._alone = self._alone + 1 if batch.rows == 1 else 0
        if batch.brief and batch.pace.slowest <= self._brief_seconds:
            batch.run()
            self._deliver(batch)
        else:
            self._hand_over(batch)

    def _gathering(self) -> bool:
        """Whether rows came in during the last turn of the loop: then those that are still being read come along."""
        more = self._gathered < self._rows < self._max_batch_rows and self._turns < MOST_TURNS
        self._turns, self._gathered = (self._turns + 1, self._rows) if more else (0, 0)
        return more

    def _hand_over(self, batch: _Batch) -> None:
        if not self._thread:
            self._thread = threading.Thread(target=self._work, args=(self._loop,), name="inference", daemon=True)
            self._thread.start()
        self._batches.put(batch)

    def _next_batch(self) -> _Batch:
        """The oldest submission's model decides; of a large submission no more is taken than leaves room for the others."""
        oldest = next(iter(self._waiting))
        model = oldest.model
        pace = self._paces.get(model) or self._paces.setdefault(model, _Pace())
        if len(self._waiting) == len(oldest.queries) == 1:  # the shortest way, for a row that comes alone
            self._waiting.clear()
            oldest.taken = 1
            return _Batch(model, pace, [(oldest, oldest.queries)], 1, oldest.brief)
        room = min(self._max_batch_rows, model.most_rows)
        found = list(islice((one for one in self._waiting if one.model is model), room))
        pieces, rows, brief = [], 0, True
        for submission, count in zip(found, shares([len(one.queries) - one.taken for one in found], room), strict=True):
            pieces.append((submission, submission.queries[submission.taken : submission.taken + count]))
            submission.taken += count
            rows += count
            brief = brief and submission.brief
            if submission.taken == len(submission.queries):
                del self._waiting[submission]
        return _Batch(model, pace, pieces, rows, brief)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """The inference thread."""
        while batch := self._batches.get():
            batch.run()
            loop.call_soon_threadsafe(self._deliver, batch)

    def _deliver(self, batch: _Batch) -> None:
        self._running = None
        self._rows -= batch.rows
        if batch.brief:
            batch.pace.add(batch.finished - batch.started)
        if self._waiting:
            self._call_dispatch()
        for submission, outcome in batch.outcomes:
            if submission.future.done():
                continue  # its time was up, or its caller left, while it ran
            if isinstance(outcome, Exception):
                submission.future.set_exception(outcome)
            else:
                submission.future.set_result(outcome)
        self._runs.add(batch)
        if len(self._runs.rows) >= BULK:
            self.flush()

    def flush(self) -> None:
        """Tell the metrics of the runs since the last time."""
        runs, self._runs = self._runs, _Runs()
        runs.tell()

    def _expire(self) -> None:
        """Fail everything whose time is up, and set the alarm for the next deadline."""
        now = time.monotonic()
        for submission in self._outstanding():
            if submission.deadline <= now and not submission.future.done():
                self._withdraw(submission)
                submission.future.set_exception(_too_late())
        left = (submission.deadline for submission in self._outstanding() if not submission.future.done())
        self._set_alarm(min(left, default=math.inf), now)

    def _set_alarm(self, deadline: float, now: float) -> None:
        """One timer serves all. It may ring for a submission that is done by then, and is set anew."""
        if self._alarm:
            self._alarm.cancel()
        self._alarm_at, self._alarm = deadline, None
        if deadline < math.inf:
            self._alarm = self._loop.call_later(max(deadline - now, SHORTEST_ALARM), self._expire)


def shares(wanted: Sequence[int], room: int) -> list[int]:
    """How many rows each of some submissions gets of a batch: an equal share each, then what is left, the oldest first."""
    if sum(wanted) <= room:
        return list(wanted)
    share = max(1, room // len(wanted))
    given = []
    for rows in wanted:
        given.append(min(rows, share, room))
        room -= given[-1]
    for place, rows in enumerate(wanted):
        more = min(rows - given[place], room)
        given[place] += more
        room -= more
    return given


def _rank(model: Model, queries: Sequence[AnyQuery]) -> list[Ranking | Exception]:
    """Each query's answer, or what it raises: where a batch fails, its queries run one by one, and only the guilty fails."""
    try:
        return list(model.rank(queries))
    except Exception as error:  # noqa: BLE001  # nothing is lost: the caller raises it
        if len(queries) == 1:
            return [error]
        return [answer for query in queries for answer in _rank(model, [query])]


def _too_late() -> DeadlineExceeded:
    metrics.REJECTED.labels("deadline").inc()
    return DeadlineExceeded("the request's time was spent before its answer was ready")
