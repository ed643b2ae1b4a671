"""A load generator: one process, prepared request bytes, an asyncio protocol on uvloop.

A closed loop asks again as soon as it is answered: how much can be had. An open loop asks when it is time, answered or not, and
counts every latency from the time that was planned, so that a slow answer can't hide the ones it holds up.
"""

import asyncio
import ctypes
import gc
import os
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import uvloop
from numpy.typing import NDArray

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PATIENCE = 30  # seconds without an answer after which the rest is given up
CLOSED = 0  # stands for a status where the server closed the connection


@dataclass
class Load:
    """What came of it: seconds of each answer, how many of each status, and how long all of it took."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def failures(self) -> int:
        """Answers that aren't 200, and those that never came."""
        return self.statuses.total() - self.statuses[200]


class Connection(asyncio.Protocol):
    """One request at a time; calls `answered` with itself and the status after each."""

    def __init__(self, answered: Callable[["Connection", int], None]) -> None:
        self._answered = answered
        self._received = b""
        self.busy = False
        self.since = 0.0

    @property
    def closed(self) -> bool:
        return self._transport.is_closing()

    def send(self, request: bytes, since: float) -> None:
        self.busy, self.since = True, since
        if self.closed:
            self.connection_lost(None)
        else:
            self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        if not complete(data):
            self._received = data
            return
        self._received, self.busy = b"", False
        self._answered(self, int(data[9:12]))

    def connection_lost(self, _error: Exception | None) -> None:
        if self.busy:
            self.busy = False
            self._answered(self, CLOSED)


def complete(answer: bytes) -> bool:
    """Whether these bytes are a whole HTTP/1.1 answer, by its length or by its last chunk."""
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    length = LENGTH.search(answer, 0, head)
    return len(answer) >= head + 4 + int(length[1]) if length else answer.endswith(b"\r\n0\r\n\r\n")


def closed_loop(port: int, requests: Iterator[bytes], connections: int, seconds: float, most: float = float("inf")) -> Load:
    """Each connection asks as soon as it is answered, for `seconds`, or until `most` requests were sent."""
    return _run(_closed_loop(port, requests, connections, seconds, most))


def open_loop(port: int, requests: Iterator[bytes], connections: int, arrivals: NDArray[np.float64]) -> Load:
    """A request at each of `arrivals` (seconds from the start, ascending) on a free connection, or on the first that gets free."""
    return _run(_open_loop(port, requests, connections, arrivals))


def poisson(rate: float, seconds: float, seed: int = 0) -> NDArray[np.float64]:
    """Arrival times within `seconds` of a Poisson process of `rate` per second."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1 / rate, int(rate * seconds * 1.2 + 100)))
    return times[times < seconds]


def _run(job: Coroutine[Any, Any, Load]) -> Load:
    gc.collect()
    gc.disable()  # its pauses would count as the server's
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(job)
    finally:
        gc.enable()


async def _connected(port: int, count: int, answered: Callable[[Connection, int], None]) -> list[Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(lambda: Connection(answered), "127.0.0.1", port))[1] for _ in range(count)]


async def _closed_loop(port: int, requests: Iterator[bytes], connections: int, seconds: float, most: float) -> Load:
    load, clock = Load(), time.perf_counter
    finished = asyncio.get_running_loop().create_future()
    active = connections
    sent = 0

    def answered(connection: Connection, status: int) -> None:
        nonlocal active, sent
        now = clock()
        load.latencies.append(now - connection.since)
        load.statuses[status] += 1
        if status != CLOSED and now < end and sent < most:
            sent += 1
            connection.send(next(requests), now)
            return
        active -= 1
        if not active:
            finished.set_result(None)

    opened = await _connected(port, connections, answered)
    began = clock()
    end = began + seconds
    for connection in opened:
        sent += 1
        connection.send(next(requests), clock())
    await _in_time(finished, seconds, load, opened)
    load.seconds = clock() - began
    return load


async def _open_loop(port: int, requests: Iterator[bytes], connections: int, arrivals: NDArray[np.float64]) -> Load:
    load, clock = Load(), time.perf_counter
    loop = asyncio.get_running_loop()
    finished = loop.create_future()
    waiting: deque[float] = deque()
    upcoming = 0

    def answered(connection: Connection, status: int) -> None:
        load.latencies.append(clock() - connection.since)
        load.statuses[status] += 1
        if waiting and status != CLOSED:
            connection.send(next(requests), waiting.popleft())
        elif status != CLOSED:
            idle.append(connection)
        if len(load.latencies) == len(arrivals) and not finished.done():
            finished.set_result(None)

    def due() -> None:
        nonlocal upcoming
        os.read(timer.descriptor, 8)
        while upcoming < len(planned) and planned[upcoming] <= clock():
            while idle and idle[0].closed:  # a server may close a connection that was idle for long; that isn't a failure
                idle.popleft()
            if idle:
                idle.popleft().send(next(requests), planned[upcoming])
            else:
                waiting.append(planned[upcoming])
            upcoming += 1
        if upcoming < len(planned):
            timer.set(planned[upcoming])

    opened = await _connected(port, connections, answered)
    idle = deque(opened)  # in turn, so that none is idle for long
    began = clock()
    planned = (arrivals + began).tolist()
    timer = Timer()
    loop.add_reader(timer.descriptor, due)
    timer.set(planned[0])
    await _in_time(finished, float(arrivals[-1]), load, opened)
    load.statuses.update([CLOSED] * len(waiting))
    load.seconds = clock() - began
    loop.remove_reader(timer.descriptor)
    timer.close()
    return load


async def _in_time(finished: asyncio.Future[None], seconds: float, load: Load, opened: list[Connection]) -> None:
    """Wait for the end; requests that are never answered count as such."""
    try:
        await asyncio.wait_for(finished, seconds + PATIENCE)
    except TimeoutError:
        load.statuses[CLOSED] += sum(connection.busy for connection in opened)
    for connection in opened:
        connection.busy = False
        connection.close()


class Timer:
    """A kernel timer on the clock of `time.perf_counter`: an event loop's own rounds to milliseconds (Linux)."""

    MONOTONIC, NON_BLOCKING, ABSOLUTE = 1, 0o4000, 1

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor: int = self._libc.timerfd_create(self.MONOTONIC, self.NON_BLOCKING)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def set(self, at: float) -> None:
        """Fire at this time, at once if it has passed: interval and value, each in seconds and nanoseconds."""
        setting = (ctypes.c_long * 4)(0, 0, int(at), int(at % 1 * 1e9))
        self._libc.timerfd_settime(self.descriptor, self.ABSOLUTE, setting, None)

    def close(self) -> None:
        os.close(self.descriptor)
