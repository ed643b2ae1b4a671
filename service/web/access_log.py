"""One line for each request: formatted at little cost, and written many at a time."""

import asyncio
import sys
import time
from collections.abc import Mapping

import orjson

from service.web import logs

BULK = 100  # lines; few enough for a pipe to take them at once
LONGEST_WAIT = 0.05  # seconds that a line may be kept

LOGGER, MESSAGE = "recoserve.access", "request"


class AccessLog:
    """Lines like those of the other loggers, `json` or `text`, to standard error. Belongs to the event loop.

    A line is kept for `LONGEST_WAIT` at most; `flush` writes what is kept, and has to be called before the loop ends.
    """

    def __init__(self, log_format: str) -> None:
        self._line, self._date = (_json_line, logs.JSON_DATE) if log_format == "json" else (_text_line, logs.TEXT_DATE)
        self._lines: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._second = 0
        self._time = ""

    def record(self, fields: Mapping[str, object]) -> None:
        """Add a line; its fields hold nothing that needs escaping in text."""
        now = int(time.time())
        if now != self._second:
            self._second, self._time = now, time.strftime(self._date, time.localtime(now))
        self._lines.append(self._line(self._time, fields))
        if len(self._lines) >= BULK:
            self.flush()
        elif not self._timer:
            self._timer = asyncio.get_running_loop().call_later(LONGEST_WAIT, self.flush)

    def flush(self) -> None:
        """Write what is kept. Where nobody takes it, it is dropped: the service goes on without its log."""
        if self._timer:
            self._timer.cancel()
        lines, self._lines, self._timer = self._lines, [], None
        try:
            sys.stderr.buffer.write(b"".join(lines))
            sys.stderr.buffer.flush()
        except OSError:
            return


def _json_line(now: str, fields: Mapping[str, object]) -> bytes:
    line = {"time": now, "level": "INFO", "logger": LOGGER, "message": MESSAGE, **fields}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _text_line(now: str, fields: Mapping[str, object]) -> bytes:
    return f"{now} {'INFO':7s} {MESSAGE} {logs.pairs(fields)}\n".encode()
