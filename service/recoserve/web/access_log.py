"""A log line and a histogram sample for each request, written many at a time: one by one they would cost more than the request."""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from recoserve import metrics
from recoserve.web import logs

FLUSH_ENTRIES = 100  # their lines are short enough for a pipe to take at once
FLUSH_SECONDS = 0.05  # after the first entry that waits

LOGGER, LEVEL, MESSAGE = "recoserve.access", "INFO", "request"


class AccessEntry(NamedTuple):
    """One answered request. Nothing in it was chosen by the client but its request id, which is harmless by its form."""

    method: str
    route: str
    status: int
    seconds: float
    request_id: str
    trace_id: str | None

    def fields(self) -> dict[str, object]:
        """The fields of its log line."""
        fields: dict[str, object] = {
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "duration_ms": round(self.seconds * 1e3, 3),
            "request_id": self.request_id,
        }
        if self.trace_id:
            fields["trace_id"] = self.trace_id
        return fields


class AccessLog:
    """Writes entries as lines like those of the other loggers, `json` or `text`, to standard error, and counts them.

    Belongs to the event loop. An entry waits for `FLUSH_SECONDS` at most; `flush` has to be called before the loop ends.
    """

    def __init__(self, log_format: str) -> None:
        self._lines = _json_lines if log_format == "json" else _text_lines
        self._entries: list[AccessEntry] = []
        self._timer: asyncio.TimerHandle | None = None
        metrics.BUFFERS.register(self)

    def add(self, entry: AccessEntry) -> None:
        """Take an entry, to be written within `FLUSH_SECONDS`."""
        self._entries.append(entry)
        if len(self._entries) >= FLUSH_ENTRIES:
            self.flush()
        elif not self._timer:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write and count the entries. If standard error is gone, their lines are lost: the service goes on without its log."""
        if self._timer:
            self._timer.cancel()
        entries, self._entries, self._timer = self._entries, [], None
        _observe(entries)
        try:
            sys.stderr.buffer.write(self._lines(entries))
            sys.stderr.buffer.flush()
        except (OSError, ValueError):  # gone, or closed
            return


def _observe(entries: Sequence[AccessEntry]) -> None:
    seconds: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)
    for entry in entries:
        seconds[entry[:3]].append(entry.seconds)
    for (method, route, status), amounts in seconds.items():
        metrics.HTTP_DURATION.labels(method, route, str(status)).observe_many(amounts)


def _json_lines(entries: Sequence[AccessEntry]) -> bytes:
    head = {"time": time.strftime(logs.JSON_DATE), "level": LEVEL, "logger": LOGGER, "message": MESSAGE}
    return b"".join([orjson.dumps({**head, **entry.fields()}, option=orjson.OPT_APPEND_NEWLINE) for entry in entries])


def _text_lines(entries: Sequence[AccessEntry]) -> bytes:
    head = f"{time.strftime(logs.TEXT_DATE)} {LEVEL:7s} {MESSAGE}"
    return "".join([f"{head} {logs.pairs(entry.fields())}\n" for entry in entries]).encode()
