"""The one inference thread and the bounded queue before it.

A row is admitted or refused at once; it waits no longer than its deadline; a caller that is gone before its turn is
never computed. Rows are counted, not requests.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from service import metrics
from service.errors import DeadlineExceeded, Overloaded

T = TypeVar("T")


@dataclass(frozen=True)
class Done(Generic[T]):
    """A job's result, and how long it waited and ran, in seconds."""

    result: T
    queue_seconds: float
    run_seconds: float


class Worker:
    """Runs jobs one after another off the event loop; `max_rows` bounds what waits or runs."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._rows = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")

    async def run(self, job: Callable[[], T], rows: int, deadline: float) -> Done[T]:
        """Run `job` in its turn; `deadline` is on the clock of `time.monotonic`.

        Raises Overloaded where its rows don't fit, DeadlineExceeded where its time is up before it is done.
        """
        if self._rows + rows > self._max_rows:
            metrics.REJECTED.labels("overloaded").inc()
            raise Overloaded("too many requests are waiting; try again shortly")
        self._count(rows)
        try:
            return await self._in_time(job, rows, deadline)
        finally:
            self._count(-rows)

    async def _in_time(self, job: Callable[[], T], rows: int, deadline: float) -> Done[T]:
        loop, now = asyncio.get_running_loop(), time.monotonic()
        try:
            if now >= deadline:
                raise TimeoutError
            async with asyncio.timeout(deadline - now):
                return await loop.run_in_executor(self._thread, _timed, job, rows, now)
        except TimeoutError:
            metrics.REJECTED.labels("deadline").inc()
            raise DeadlineExceeded("the request's time was spent before its answer was ready") from None

    def _count(self, rows: int) -> None:
        self._rows += rows
        metrics.QUEUE_DEPTH.set(self._rows)

    def close(self) -> None:
        """Drop what waits and let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _timed(job: Callable[[], T], rows: int, queued_at: float) -> Done[T]:
    started = time.monotonic()
    metrics.QUEUE_DURATION.observe(started - queued_at)
    metrics.BATCH_ROWS.observe(rows)
    result = job()
    return Done(result, started - queued_at, time.monotonic() - started)
