"""Around every request: its id, its time, its log line, its metrics, and the last catch. Pure ASGI."""

import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recoserve import metrics
from recoserve.errors import RequestError
from recoserve.recommend.recommender import Recommender
from recoserve.scheduling.registry import State
from recoserve.settings import Settings
from recoserve.web import problems
from recoserve.web.access_log import AccessLog, Entry
from recoserve.web.disconnects import DisconnectWatch

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
QUIET = frozenset({"/livez", "/readyz", "/startupz", "/health", "/metrics"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})

JSON = (b"content-type", b"application/json")

ids = random.Random()  # seeded by the operating system; an id only has to be unlike any other
error_log = logging.getLogger("recoserve.error")


@dataclass(frozen=True)
class Service:
    """What requests are answered with."""

    settings: Settings
    recommender: Recommender
    disconnects: DisconnectWatch = field(default_factory=DisconnectWatch)


@dataclass(slots=True)
class Context:
    """What is known of one request; lives in `scope["recoserve"]`. Header names are in lower case."""

    service: Service
    headers: dict[bytes, bytes]
    request_id: str
    trace_id: str | None
    started: float = field(default_factory=time.monotonic)
    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    status: int = 0
    complete: bool = False


HeaderList = list[tuple[bytes, bytes]]
SendWhole = Callable[[HeaderList, bytes], bool]  # sends a 200, all at once; False: it can't, and plain ASGI has to
EXTENSION = "recoserve.send_whole"  # of ASGI; the server takes headers as they are, and their names in lower case

Lane = Mapping[tuple[str, str], Callable[[Context, Receive], Awaitable[bytes]]]  # (method, path) -> what makes the answer's JSON


def of_request(request: Request) -> Context:
    """The request's context, as a FastAPI dependency."""
    context: Context = request.scope["recoserve"]
    return context


Caller = Annotated[Context, Depends(of_request)]


class RequestContext:
    """The outermost layer. What `lane` names is answered here, ahead of all that `app` has around its routes."""

    def __init__(self, app: ASGIApp, lane: Lane, service: Service, access_log: AccessLog) -> None:
        self._app = app
        self._lane = lane
        self._service = service
        self._registry = service.recommender.registry
        self._access_log = access_log
        self._in_flight = 0
        metrics.HTTP_IN_FLIGHT.set_function(lambda: self._in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Taken out: it knows the scope, and a scope that knew it would wait for the garbage collector.
        whole: SendWhole | None = scope.get("extensions", {}).pop(EXTENSION, None)
        context = scope["recoserve"] = self._context(scope)
        answer = self._lane.get((scope["method"], scope["path"]))
        counted = scope["path"] not in QUIET
        self._in_flight += counted
        try:
            if answer:
                await self._send_json(await answer(context, receive), context, send, whole)
            else:
                await self._app(scope, receive, self._naming(context, send))
        except ClientDisconnect:
            pass  # nobody is left to answer; it counts as 499
        except RequestError as error:
            await problems.answer(error, context.request_id)(scope, receive, self._naming(context, send))
        except Exception:
            error_log.exception("a defect in the service", extra={"request_id": context.request_id})
            if not context.status:
                await problems.defect(context.request_id)(scope, receive, self._naming(context, send))
            elif not context.complete:
                raise
        finally:
            self._in_flight -= counted
            if counted:
                self._record(scope, context, scope["path"] if answer else getattr(scope.get("route"), "path", "unmatched"))

    def _context(self, scope: Scope) -> Context:
        headers = dict(reversed(scope["headers"]))  # of a header that was sent twice, the first counts
        sent, trace = headers.get(b"x-request-id"), headers.get(b"traceparent")
        request_id = sent.decode() if sent and REQUEST_ID.fullmatch(sent) else ids.randbytes(16).hex()
        found = TRACEPARENT.fullmatch(trace) if trace else None
        return Context(self._service, headers, request_id, found.group(1).decode() if found else None)

    async def _send_json(self, body: bytes, context: Context, send: Send, whole: SendWhole | None) -> None:
        context.status = 200
        headers = [(b"content-length", b"%d" % len(body)), JSON, *self._names(context)]
        if whole and self._registry.state is not State.DRAINING and whole(headers, body):
            context.complete = True
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        context.complete = True
        await send({"type": "http.response.body", "body": body})

    def _naming(self, context: Context, send: Send) -> Send:
        """A `send` that gives an answer the headers that every answer has."""

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                sent = list(message.get("headers", ()))
                message["headers"] = sent + [one for one in self._names(context) if one not in sent]
            else:
                context.complete = not message.get("more_body")
            await send(message)

        return send_named

    def _names(self, context: Context) -> HeaderList:
        timing = b"queue;dur=%.3f, inference;dur=%.3f" % (context.queue_seconds * 1e3, context.run_seconds * 1e3)
        names = [(b"x-request-id", context.request_id.encode()), (b"server-timing", timing)]
        if self._registry.state is State.DRAINING:
            names.append((b"connection", b"close"))  # else a kept-alive connection is closed under the next request
        return names

    def _record(self, scope: Scope, context: Context, route: str) -> None:
        seconds = time.monotonic() - context.started
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self._access_log.add(Entry(method, route, context.status or 499, seconds, context.request_id, context.trace_id))
