"""Around every request: its id, its time, its log line, its metrics, and the last catch. Pure ASGI."""

import logging
import re
import time
import uuid
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import metrics
from service.engine.slot import Slot, State
from service.web import problems

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
QUIET = frozenset({"/livez", "/readyz", "/startupz", "/health", "/metrics"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})

access_log = logging.getLogger("recoserve.access")
error_log = logging.getLogger("recoserve.error")


@dataclass
class Context:
    """What is known of one request; lives in `scope["recoserve"]`."""

    request_id: str
    trace_id: str | None
    started: float = field(default_factory=time.monotonic)
    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    status: int = 0


class RequestContext:
    """The outermost layer."""

    def __init__(self, app: ASGIApp, slot: Slot) -> None:
        self._app = app
        self._slot = slot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = scope["recoserve"] = _context(Headers(scope=scope))

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                headers = MutableHeaders(scope=message)
                _name(headers, context)
                if self._slot.state is State.DRAINING:
                    headers["Connection"] = "close"  # else a kept-alive connection is closed under the next request
            await send(message)

        if scope["path"] in QUIET:
            await self._answer(scope, receive, send_named, context)
            return
        metrics.HTTP_IN_FLIGHT.inc()
        try:
            await self._answer(scope, receive, send_named, context)
        finally:
            metrics.HTTP_IN_FLIGHT.dec()
            _record(scope, context)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, context: Context) -> None:
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            return  # nobody is left to answer; it counts as 499
        except Exception:
            error_log.exception("a defect in the service", extra={"request_id": context.request_id})
            if context.status:
                raise
            detail = "a defect in the service; its log has the cause under this request id"
            await problems.problem(problems.INTERNAL, detail, context.request_id)(scope, receive, send)


def _context(headers: Headers) -> Context:
    sent = headers.get("x-request-id", "")
    trace = TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return Context(sent if REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex, trace.group(1) if trace else None)


def _name(headers: MutableHeaders, context: Context) -> None:
    headers["X-Request-ID"] = context.request_id
    headers["Server-Timing"] = f"queue;dur={context.queue_seconds * 1e3:.3f}, inference;dur={context.run_seconds * 1e3:.3f}"


def _record(scope: Scope, context: Context) -> None:
    """One histogram sample and one log line. Neither holds anything that a client can choose but its request id."""
    seconds = time.monotonic() - context.started
    method = scope["method"] if scope["method"] in METHODS else "OTHER"
    route = getattr(scope.get("route"), "path", "unmatched")
    status = context.status or 499
    metrics.HTTP_DURATION.labels(method, route, str(status)).observe(seconds)
    line = {
        "method": method,
        "route": route,
        "status": status,
        "duration_ms": round(seconds * 1e3, 3),
        "request_id": context.request_id,
    }
    if context.trace_id:
        line["trace_id"] = context.trace_id
    access_log.info("request", extra=line)
