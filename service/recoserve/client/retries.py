"""Decides after each attempt of a call whether it has a result, has failed, or is attempted again after a pause. No I/O.

A client sends the request of `stream_arguments` and hands the response or httpx's error to `conclude`, which returns the result, or
a pause before the next attempt. A failed attempt is repeated while retries remain, if its error is one of the call's
`retried_errors`. The pause is the time that the service asked for by `Retry-After`, plus a random part of a limit that doubles with
each failure, so that clients that were refused together don't come back together. A pause that would outlast the call's time isn't
begun: the error is raised at once.
"""

import math
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic

import httpx

from recoserve.client.calls import ApiCall, Parsed
from recoserve.client.errors import ClientError, ConnectionFailed, ServiceProblem, TimedOut
from recoserve.client.responses import HttpResponse

FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 2.0
# The service gives up a request at the same moment as the client. Its 504 says more than the client's own time-out, so the client
# waits this much longer for it.
GRACE_SECONDS = 0.25
LONGEST_TIMEOUT_MS = 999_999_999  # that the service accepts in X-Request-Timeout-Ms
SHORTEST_TIMEOUT_SECONDS = 0.001  # for httpx, which raises another error than a time-out for 0 or less


@dataclass(frozen=True)
class RetryPolicy:
    """How long and how often a call is tried; raises ValueError for numbers that make no sense.

    `timeout`: seconds for the call, retries and pauses included. `retries`: attempts after the first.
    """

    timeout: float
    retries: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.timeout) and self.timeout > 0):
            raise ValueError(f"timeout must be a number of seconds above 0, not {self.timeout!r}")
        if self.retries < 0:
            raise ValueError(f"retries must be 0 or more, not {self.retries!r}")


@dataclass(frozen=True)
class Pause:
    """Wait for so many seconds, then make the next attempt."""

    seconds: float


class _RemainingTime(Mapping[str, float]):
    """The time-outs of an httpx request: each is the time that the call has left at the moment when httpx looks it up.

    httpx takes one number for each of its steps (connect, write, read, wait for a connection) and begins each step with the full
    number: four steps could last four times as long as the call may.
    """

    def __init__(self, end: float) -> None:
        self._end = end

    def __getitem__(self, _step: str) -> float:
        return max(self._end - time.monotonic(), SHORTEST_TIMEOUT_SECONDS)

    def __iter__(self) -> Iterator[str]:
        return iter(("connect", "read", "write", "pool"))

    def __len__(self) -> int:
        return 4


class CallState(Generic[Parsed]):
    """The state of one call; its time begins when the state is created. Raises ValueError for a time-out that makes no sense."""

    def __init__(self, call: ApiCall[Parsed], policy: RetryPolicy) -> None:
        if call.timeout is not None:
            policy = RetryPolicy(call.timeout, policy.retries)
        self._call = call
        self._timeout = policy.timeout
        self._end = time.monotonic() + policy.timeout
        self._retries = policy.retries
        self._failures = 0

    def stream_arguments(self) -> dict[str, Any]:
        """Arguments of httpx's `stream` for the next attempt, the remaining time in a header; raises TimedOut if there is none."""
        remaining_ms = min(math.ceil((self._end - time.monotonic()) * 1e3), LONGEST_TIMEOUT_MS)
        if remaining_ms <= 0:
            raise self._timed_out()
        return {
            "method": "GET" if self._call.body is None else "POST",
            "url": self._call.path,
            "params": self._call.query,
            "content": self._call.body,
            "headers": {**self._call.headers, "X-Request-Timeout-Ms": str(remaining_ms)},
            "extensions": {"timeout": _RemainingTime(self._end + GRACE_SECONDS)},
        }

    def require_time(self) -> None:
        """Raise TimedOut when the call's time has passed; to be called whenever a part of the body has arrived.

        httpx's time-outs are for the silence between two reads: a body that trickles in would never exceed them.
        """
        if time.monotonic() > self._end + GRACE_SECONDS:
            raise self._timed_out()

    def conclude(self, response_or_error: HttpResponse | httpx.HTTPError) -> Parsed | Pause:
        """The call's parsed response, or the pause before the next attempt; raises ClientError where no other attempt follows."""
        try:
            if isinstance(response_or_error, HttpResponse):
                return self._call.parse(response_or_error)
            raise self._failure(response_or_error) from response_or_error
        except self._call.retried_errors as error:
            if self._failures == self._retries:
                raise
            seconds = self._pause_seconds(error)
            if time.monotonic() + seconds >= self._end:
                raise
            self._failures += 1
            return Pause(seconds)

    def _pause_seconds(self, error: ClientError) -> float:
        requested = error.retry_after if isinstance(error, ServiceProblem) else None
        return (requested or 0.0) + random.uniform(0, min(FIRST_BACKOFF_SECONDS * 2**self._failures, LONGEST_BACKOFF_SECONDS))

    def _failure(self, error: httpx.HTTPError) -> ClientError:
        match error:
            case httpx.TimeoutException():
                return self._timed_out()
            case httpx.NetworkError() | httpx.RemoteProtocolError() | httpx.ProxyError():
                return ConnectionFailed(f"the connection failed: {error or type(error).__name__}", self._call.request_id)
        return ClientError(f"the request could not be sent, or its response could not be read: {error}", self._call.request_id)

    def _timed_out(self) -> TimedOut:
        return TimedOut(f"no complete response within {self._timeout:g} s", self._call.request_id)
