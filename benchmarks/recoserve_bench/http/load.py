"""A load generator: one process, prepared request bytes, an asyncio protocol on uvloop.

A closed loop sends its next request as soon as the last one is answered: it measures the capacity. An open loop sends each request
at its planned time, whether or not the last one is answered, and counts the latency from that time: a slow response can't hide the
requests that it holds up.
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

from recoserve.bundle.arrays import Float64Array

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PATIENCE = 30  # seconds after the end in which late responses are waited for
CLOSED = 0  # the status of a request on a connection that the server closed, and of one that is never answered


@dataclass
class Load:
    """The responses: the seconds that each took, how many had which status, and how long all of them took together."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Responses per second."""
        return len(self.latencies) / self.seconds

    @property
    def failures(self) -> int:
        """Responses other than 200, and those that never came."""
        return self.statuses.total() - self.statuses[200]


OnResponse = Callable[["Connection", int], None]


class Connection(asyncio.Protocol):
    """A connection that sends one request at a time, and calls `on_response` with itself and the status after each."""

    def __init__(self, on_response: OnResponse) -> None:
        self._on_response = on_response
        self._received = b""
        self.busy = False
        self.since = 0.0

    @property
    def closed(self) -> bool:
        """Whether the server or this end has closed it."""
        return self._transport.is_closing()

    def send(self, request: bytes, since: float) -> None:
        """Send a request whose latency counts from `since`; on a closed connection, report it as failed."""
        self.busy, self.since = True, since
        if self.closed:
            self.connection_lost(None)
        else:
            self._transport.write(request)

    def close(self) -> None:
        """Close it from this end."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        if not is_complete(data):
            self._received = data
            return
        self._received, self.busy = b"", False
        self._on_response(self, int(data[9:12]))

    def connection_lost(self, _error: Exception | None) -> None:
        if self.busy:
            self.busy = False
            self._on_response(self, CLOSED)


def is_complete(response: bytes) -> bool:
    """Whether these bytes are a complete HTTP/1.1 response, by its length or by its last chunk."""
    head = response.find(b"\r\n\r\n")
    if head < 0:
        return False
    length = LENGTH.search(response, 0, head)
    return len(response) >= head + 4 + int(length[1]) if length else response.endswith(b"\r\n0\r\n\r\n")


def closed_loop(port: int, requests: Iterator[bytes], connections: int, seconds: float, most: float = float("inf")) -> Load:
    """Send the next request on each connection as soon as the last is answered, for `seconds` or until `most` requests are sent."""
    return _run(_closed_loop(port, requests, connections, seconds, most))


def open_loop(port: int, requests: Iterator[bytes], connections: int, arrivals: Float64Array) -> Load:
    """Send a request at each of `arrivals` (seconds from the start, ascending), on an idle connection or the next idle one."""
    return _run(_open_loop(port, requests, connections, arrivals))


def poisson(rate: float, seconds: float, seed: int = 0) -> Float64Array:
    """Arrival times within `seconds` of a Poisson process of `rate` per second."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1 / rate, int(rate * seconds * 1.2 + 100)))
    return times[times < seconds]


def _run(loop: Coroutine[Any, Any, Load]) -> Load:
    gc.collect()
    gc.disable()  # its pauses would count as the server's
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(loop)
    finally:
        gc.enable()


async def _connect(port: int, count: int, on_response: OnResponse) -> list[Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(lambda: Connection(on_response), "127.0.0.1", port))[1] for _ in range(count)]


async def _closed_loop(port: int, requests: Iterator[bytes], connections: int, seconds: float, most: float) -> Load:
    load, clock = Load(), time.perf_counter
    finished = asyncio.get_running_loop().create_future()
    active = connections
    sent = 0

    def on_response(connection: Connection, status: int) -> None:
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

    opened = await _connect(port, connections, on_response)
    began = clock()
    end = began + seconds
    for connection in opened:
        sent += 1
        connection.send(next(requests), clock())
    await _finish(finished, seconds, load, opened)
    load.seconds = clock() - began
    return load


async def _open_loop(port: int, requests: Iterator[bytes], connections: int, arrivals: Float64Array) -> Load:
    load, clock = Load(), time.perf_counter
    loop = asyncio.get_running_loop()
    finished = loop.create_future()
    waiting: deque[float] = deque()
    upcoming = 0

    def on_response(connection: Connection, status: int) -> None:
        load.latencies.append(clock() - connection.since)
        load.statuses[status] += 1
        if waiting and status != CLOSED:
            connection.send(next(requests), waiting.popleft())
        elif status != CLOSED:
            idle.append(connection)
        if len(load.latencies) == len(arrivals) and not finished.done():
            finished.set_result(None)

    def on_timer() -> None:
        nonlocal upcoming
        os.read(timer.descriptor, 8)
        while upcoming < len(planned) and planned[upcoming] <= clock():
            while idle and idle[0].closed:  # a server may close a connection that was idle for long, which isn't a failure
                idle.popleft()
            if idle:
                idle.popleft().send(next(requests), planned[upcoming])
            else:
                waiting.append(planned[upcoming])
            upcoming += 1
        if upcoming < len(planned):
            timer.set(planned[upcoming])

    opened = await _connect(port, connections, on_response)
    idle = deque(opened)  # used in turn, so that none is idle for long
    began = clock()
    planned = (arrivals + began).tolist()
    timer = Timer()
    loop.add_reader(timer.descriptor, on_timer)
    timer.set(planned[0])
    await _finish(finished, float(arrivals[-1]), load, opened)
    load.statuses.update([CLOSED] * len(waiting))
    load.seconds = clock() - began
    loop.remove_reader(timer.descriptor)
    timer.close()
    return load


async def _finish(finished: asyncio.Future[None], seconds: float, load: Load, opened: list[Connection]) -> None:
    """Wait until all requests are answered; those that never are count as failures. Close the connections."""
    try:
        await asyncio.wait_for(finished, seconds + PATIENCE)
    except TimeoutError:
        load.statuses[CLOSED] += sum(connection.busy for connection in opened)
    for connection in opened:
        connection.busy = False
        connection.close()


class Timer:
    """A timer of the kernel on the clock of `time.perf_counter` (Linux). An event loop's own timers round to milliseconds."""

    MONOTONIC, NON_BLOCKING, ABSOLUTE = 1, 0o4000, 1

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor: int = self._libc.timerfd_create(self.MONOTONIC, self.NON_BLOCKING)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def set(self, at: float) -> None:
        """Fire at this time, at once if it has passed."""
        setting = (ctypes.c_long * 4)(0, 0, int(at), int(at % 1 * 1e9))  # no interval; seconds and nanoseconds
        self._libc.timerfd_settime(self.descriptor, self.ABSOLUTE, setting, None)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.descriptor)
