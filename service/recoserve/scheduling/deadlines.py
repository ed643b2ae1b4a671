"""One timer for the deadlines of all submissions."""

import asyncio
import math
import time
from collections.abc import Callable

MIN_DELAY = 1e-3  # seconds; event loops round to milliseconds, and a timer that fired early would only be set again


class DeadlineTimer:
    """Calls `expire` when the earliest known deadline has passed, within about a millisecond.

    `expire(now)` must fail the submissions whose deadline has passed, and return the earliest remaining deadline, or infinity. One
    shared timer is cheaper than one for each request. It isn't cancelled when a request is answered, so it may fire with nothing to
    expire; it is then set to the next deadline. Belongs to the event loop; times are values of `time.monotonic()`.
    """

    def __init__(self, expire: Callable[[float], float]) -> None:
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self.next_deadline = math.inf

    def set(self, deadline: float, now: float) -> None:
        """Fire at `deadline`, and no longer at the time set before."""
        if self._timer:
            self._timer.cancel()
        self.next_deadline, self._timer = deadline, None
        if deadline < math.inf:
            self._timer = asyncio.get_running_loop().call_later(max(deadline - now, MIN_DELAY), self.fire)

    def fire(self) -> None:
        """Call `expire`, and wait for the next deadline."""
        now = time.monotonic()
        self.set(self._expire(now), now)
