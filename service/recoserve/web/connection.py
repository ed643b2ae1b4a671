"""A connection that sends an answer in one write, and cancels a request whose client disconnects.

uvicorn writes head and body separately, each with a system call that wakes up the client, and it checks every header for names and
values that need special treatment, which ours never have. It reports a disconnect only through `receive`; to await that in a task
of its own for every request would cost too much. Both improvements use private attributes of uvicorn. If a version of uvicorn lacks
one, uvicorn's own protocol is used: the answers are the same, a little slower, and nobody notices that a client has disconnected.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from recoserve.web.exchange import EXTENSION, HeaderList

PROTOCOL_METHODS = ("on_headers_complete", "connection_lost")
CYCLE_ATTRIBUTES = (  # attributes and arguments of uvicorn's `RequestResponseCycle`
    "default_headers",
    "disconnected",
    "flow",
    "keep_alive",
    "message_event",
    "on_response",
    "response_complete",
    "response_started",
    "scope",
    "transport",
    "waiting_for_100_continue",
)


class CycleExchange:
    """Implements `Exchange` (see exchange.py) on uvicorn's `RequestResponseCycle`."""

    __slots__ = ("_cycle", "disconnected", "task")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self.task: asyncio.Task[Any] | None = None
        self.disconnected = False

    def send_whole(self, headers: HeaderList, body: bytes) -> bool:
        """Send a whole 200 in one write. False, and nothing sent, if the connection must be closed, is lost or busy, or has an
        answer.
        """
        cycle = self._cycle
        if not cycle.keep_alive or cycle.disconnected or cycle.response_started or cycle.flow.write_paused:
            return False
        lines = [STATUS_LINE[200]]
        for name, value in [*cycle.default_headers, *headers]:
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n", body)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"".join(lines))
        cycle.message_event.set()
        cycle.on_response()
        return True


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with an `Exchange` among the extensions of each request's scope."""

    _exchange: CycleExchange | None = None

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.cycle and self.cycle.scope is self.scope:  # not so after an upgrade, such as to WebSocket
            # If a request is pipelined, this overwrites the exchange of the one that is still being answered. That is harmless:
            # uvicorn pauses reading then, so `connection_lost` can't be called while that one waits.
            self._exchange = CycleExchange(self.cycle)
            cast(dict[str, Any], self.scope)["extensions"] = {EXTENSION: self._exchange}

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._exchange and self._exchange.task:
            self._exchange.disconnected = True
            self._exchange.task.cancel()


def missing_attributes() -> list[str]:
    """The names of uvicorn's attributes that `Connection` needs and the installed version lacks."""
    methods = [f"HttpToolsProtocol.{name}" for name in PROTOCOL_METHODS if not hasattr(HttpToolsProtocol, name)]
    # Attributes that `__init__` sets are names in its code.
    known = {*RequestResponseCycle.__init__.__code__.co_names, *RequestResponseCycle.__init__.__code__.co_varnames}
    return methods + [f"RequestResponseCycle.{name}" for name in CYCLE_ATTRIBUTES if name not in known]


def protocol() -> type[asyncio.Protocol] | str:
    """For uvicorn's `http` option: `Connection`, or "httptools", uvicorn's own protocol, if attributes are missing."""
    return "httptools" if missing_attributes() else Connection
