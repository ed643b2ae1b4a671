"""A connection that sends an answer in one write, and cancels a request whose client disconnects.

uvicorn writes head and body apart, each of which is a system call and wakes up whoever reads, and it checks every header for what
ours don't have. It tells of a disconnect only to whoever awaits `receive`, and a task that does so for every request costs more
than it saves. Both need more of uvicorn's protocol than it promises. `protocol` looks for what is needed; where a version of
uvicorn lacks it, uvicorn's own protocol serves: the same answers, a little slower, and a client that leaves is noticed by nobody.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from recoserve.web.exchange import EXTENSION, HeaderList

REQUIRED_METHODS = ("on_headers_complete", "connection_lost")
REQUIRED_OF_CYCLE = (  # attributes and arguments of uvicorn's `RequestResponseCycle`
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
    """An `Exchange` over uvicorn's own state of a request and its response."""

    __slots__ = ("_cycle", "disconnected", "task")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self.task: asyncio.Task[Any] | None = None
        self.disconnected = False

    def send_whole(self, headers: HeaderList, body: bytes) -> bool:
        """Do what `cycle.send` does with a whole 200; False, and nothing done, where more than a write is called for."""
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
        if self.cycle and self.cycle.scope is self.scope:  # otherwise the connection has left HTTP for another protocol
            # A pipelined request replaces the one that is still being answered. That loses nothing: uvicorn stops reading until
            # there is an answer, and who doesn't read doesn't notice a disconnect.
            self._exchange = CycleExchange(self.cycle)
            cast(dict[str, Any], self.scope)["extensions"] = {EXTENSION: self._exchange}

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._exchange and self._exchange.task:
            self._exchange.disconnected = True
            self._exchange.task.cancel()


def missing_attributes() -> list[str]:
    """What `Connection` needs of uvicorn and this version of it lacks."""
    methods = [f"HttpToolsProtocol.{name}" for name in REQUIRED_METHODS if not hasattr(HttpToolsProtocol, name)]
    known = {*RequestResponseCycle.__init__.__code__.co_names, *RequestResponseCycle.__init__.__code__.co_varnames}
    return methods + [f"RequestResponseCycle.{name}" for name in REQUIRED_OF_CYCLE if name not in known]


def protocol() -> type[asyncio.Protocol] | str:
    """For uvicorn's `http` option: our connection, or "httptools", uvicorn's own, where it lacks what ours needs."""
    return "httptools" if missing_attributes() else Connection
