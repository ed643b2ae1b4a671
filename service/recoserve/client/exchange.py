"""One call, from its first attempt to its answer. No I/O: a client sends what `attempt` says and hands over what came of it.

An attempt that ends in an error of the call's `retried` is made again while tries are left, after a pause: what the service asked
for by `Retry-After`, and on top a random part of a limit that doubles each time, so that callers don't come back all at once.
A pause that would outlast the call's time isn't begun: the error is raised at once.
"""

import math
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from recoserve.client.calls import Call
from recoserve.client.errors import ClientError, ConnectionFailed, ServiceProblem, TimedOut
from recoserve.client.reply import Reply

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 2.0
GRACE = 0.25  # beyond the deadline, so that the service's own 504 arrives
LONGEST_TIMEOUT_MS = 999_999_999  # of the header

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Patience:
    """`timeout`: seconds for a whole call, its retries included. `retries`: attempts after the first."""

    timeout: float
    retries: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.timeout) and self.timeout > 0):
            raise ValueError(f"timeout must be a number of seconds above 0, not {self.timeout!r}")
        if self.retries < 0:
            raise ValueError(f"retries must be 0 or more, not {self.retries!r}")


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds, then make the next attempt."""

    seconds: float


class _Left(Mapping[str, float]):
    """httpx asks for a time-out before it connects, writes and reads: each is what the call has left then."""

    def __init__(self, end: float) -> None:
        self._end = end

    def __getitem__(self, _step: str) -> float:
        return max(self._end - time.monotonic(), 0.001)

    def __iter__(self) -> Iterator[str]:
        return iter(("connect", "read", "write", "pool"))

    def __len__(self) -> int:
        return 4


class Exchange(Generic[Answer]):
    """The state of one call; its clock runs from here. Raises ValueError for a time-out that is none."""

    def __init__(self, call: Call[Answer], patience: Patience) -> None:
        if call.timeout is not None:
            patience = Patience(call.timeout, patience.retries)
        self._call = call
        self._timeout = patience.timeout
        self._end = time.monotonic() + patience.timeout
        self._retries = patience.retries
        self._failures = 0

    def attempt(self) -> dict[str, Any]:
        """Arguments for httpx's `stream`; the service is told how much of the call's time is left. Raises TimedOut."""
        left_ms = min(math.ceil((self._end - time.monotonic()) * 1e3), LONGEST_TIMEOUT_MS)
        if left_ms <= 0:
            raise self._timed_out()
        return {
            "method": "GET" if self._call.body is None else "POST",
            "url": self._call.path,
            "params": self._call.query,
            "content": self._call.body,
            "headers": {**self._call.headers, "X-Request-Timeout-Ms": str(left_ms)},
            "extensions": {"timeout": _Left(self._end + GRACE)},
        }

    def in_time(self, piece: bytes) -> bytes:
        """A piece of the body, as it came; raises TimedOut where a body trickles in beyond the call's time."""
        if time.monotonic() > self._end + GRACE:
            raise self._timed_out()
        return piece

    def judge(self, outcome: Reply | httpx.HTTPError) -> Answer | Pause:
        """The answer, or the pause before the next attempt; raises ClientError where there is to be none."""
        try:
            if isinstance(outcome, Reply):
                return self._call.read(outcome)
            raise self._failure(outcome) from outcome
        except self._call.retried as error:
            if self._failures == self._retries:
                raise
            pause = self._pause(error)
            if time.monotonic() + pause >= self._end:
                raise
            self._failures += 1
            return Pause(pause)

    def _pause(self, error: ClientError) -> float:
        asked = error.retry_after if isinstance(error, ServiceProblem) else None
        return (asked or 0.0) + random.uniform(0, min(FIRST_BACKOFF * 2**self._failures, LONGEST_BACKOFF))

    def _failure(self, error: httpx.HTTPError) -> ClientError:
        match error:
            case httpx.TimeoutException():
                return self._timed_out()
            case httpx.NetworkError() | httpx.RemoteProtocolError() | httpx.ProxyError():
                return ConnectionFailed(f"the connection failed: {error or type(error).__name__}", self._call.request_id)
        return ClientError(f"the request could not be sent or its answer not be read: {error}", self._call.request_id)

    def _timed_out(self) -> TimedOut:
        return TimedOut(f"no whole answer within {self._timeout:g} s", self._call.request_id)
