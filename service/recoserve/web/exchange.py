"""The interface between our connection and the application, an extension of ASGI."""

import asyncio
from typing import Any, Protocol

EXTENSION = "recoserve.exchange"  # its name in a scope's extensions

HeaderList = list[tuple[bytes, bytes]]


class Exchange(Protocol):
    """One request and its response on a connection. If the client disconnects, `task` is cancelled, and `disconnected` says why."""

    task: asyncio.Task[Any] | None
    disconnected: bool

    def send_whole(self, headers: HeaderList, body: bytes) -> bool:
        """Send a 200 in one write; False where it must be sent as ASGI events. Names of headers are in lower case."""
