"""What is kept of each request, a log line and a histogram sample: noted at little cost, and made many at a time."""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from recoserve import metrics
from recoserve.web import logs

BULK = 100  # requests; their lines are few enough for a pipe to take at once
LONGEST_WAIT = 0.05  # seconds that a request may be kept

LOGGER, LEVEL, MESSAGE = "recoserve.access", "INFO", "request"


class Entry(NamedTuple):
    """One answered request. Nothing in it was chosen by the client but its request id, which is harmless by its form."""

    method: str
    route: str
    status: int
    seconds: float
    request_id: str
    trace_id: str | None

    def fields(self) -> dict[str, object]:
        """As they stand in the log."""
        found: dict[str, object] = {
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "duration_ms": round(self.seconds * 1e3, 3),
            "request_id": self.request_id,
        }
        if self.trace_id:
            found["trace_id"] = self.trace_id
        return found


class AccessLog:
    """Writes entries as lines like those of the other loggers, `json` or `text`, to standard error, and counts them.

    Belongs to the event loop. An entry is kept for `LONGEST_WAIT` at most; `flush` has to be called before the loop ends.
    """

    def __init__(self, log_format: str) -> None:
        self._lines = _json_lines if log_format == "json" else _text_lines
        self._entries: list[Entry] = []
        self._timer: asyncio.TimerHandle | None = None
        metrics.BUFFERS.register(self)

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)
        if len(self._entries) >= BULK:
            self.flush()
        elif not self._timer:
            self._timer = asyncio.get_running_loop().call_later(LONGEST_WAIT, self.flush)

    def flush(self) -> None:
        """Make what is kept. Lines that nobody takes are dropped: the service goes on without its log."""
        if self._timer:
            self._timer.cancel()
        entries, self._entries, self._timer = self._entries, [], None
        _observe(entries)
        try:
            sys.stderr.buffer.write(self._lines(entries))
            sys.stderr.buffer.flush()
        except (OSError, ValueError):  # gone, or closed
            return


def _observe(entries: Sequence[Entry]) -> None:
    seconds: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)
    for entry in entries:
        seconds[entry[:3]].append(entry.seconds)
    for (method, route, status), amounts in seconds.items():
        metrics.HTTP_DURATION.labels(method, route, str(status)).observe_many(amounts)


def _json_lines(entries: Sequence[Entry]) -> bytes:
    head = {"time": time.strftime(logs.JSON_DATE), "level": LEVEL, "logger": LOGGER, "message": MESSAGE}
    return b"".join([orjson.dumps({**head, **entry.fields()}, option=orjson.OPT_APPEND_NEWLINE) for entry in entries])


def _text_lines(entries: Sequence[Entry]) -> bytes:
    head = f"{time.strftime(logs.TEXT_DATE)} {LEVEL:7s} {MESSAGE}"
    return "".join([f"{head} {logs.pairs(entry.fields())}\n" for entry in entries]).encode()
