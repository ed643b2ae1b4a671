"""A connection that sends an answer whole: uvicorn writes head and body apart, each of which is a system call and a wake-up of
whoever reads, and looks at every header for what ours don't have."""

from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from recoserve.web.context import EXTENSION, HeaderList


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, and an extension of ASGI in each request's scope: `SendWhole` of `web.context`."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.cycle and self.cycle.scope is self.scope:  # else it is no request of HTTP any more
            cast(dict[str, Any], self.scope)["extensions"] = {EXTENSION: partial(_send_whole, self.cycle)}


def _send_whole(cycle: RequestResponseCycle, headers: HeaderList, body: bytes) -> bool:
    """What `cycle.send` does with a 200 that is there as a whole; False where more than a write is called for."""
    if not cycle.keep_alive or cycle.disconnected or cycle.response_started or cycle.flow.write_paused:
        return False
    parts = [STATUS_LINE[200]]
    for name, value in [*cycle.default_headers, *headers]:
        parts += (name, b": ", value, b"\r\n")
    parts += (b"\r\n", body)
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    cycle.on_response()
    return True
