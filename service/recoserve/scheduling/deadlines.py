"""One timer for the deadlines of all submissions."""

import asyncio
import math
import time
from collections.abc import Callable

MIN_DELAY = 1e-3  # seconds; event loops count in milliseconds


class DeadlineTimer:
    """Calls `expire` no later than the earliest deadline that it was told of.

    `expire(now)` fails what is late and returns the earliest deadline that remains, or infinity. A timer for each request would
    cost more than the request: nearly all of them are answered first. So the timer may ring for a submission that is already
    answered, and is then set again. Belongs to the event loop; times are those of `time.monotonic`.
    """

    def __init__(self, expire: Callable[[float], float]) -> None:
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self.due_at = math.inf

    def set(self, deadline: float, now: float) -> None:
        """Ring at `deadline` in place of the time set before."""
        if self._timer:
            self._timer.cancel()
        self.due_at, self._timer = deadline, None
        if deadline < math.inf:
            self._timer = asyncio.get_running_loop().call_later(max(deadline - now, MIN_DELAY), self.ring)

    def ring(self) -> None:
        """Expire what is late now, and wait for the next deadline."""
        now = time.monotonic()
        self.set(self._expire(now), now)
