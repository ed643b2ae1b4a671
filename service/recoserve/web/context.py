"""The outermost ASGI layer: gives a request an id and a start time, logs and counts it, and answers uncaught exceptions."""

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
from recoserve.scheduling.batcher import Batcher
from recoserve.scheduling.registry import ModelRegistry, RegistryState
from recoserve.search.model import Model
from recoserve.settings import Settings
from recoserve.web import problems
from recoserve.web.access_log import AccessEntry, AccessLog
from recoserve.web.exchange import EXTENSION, Exchange, HeaderList

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
UNLOGGED_PATHS = frozenset({"/livez", "/readyz", "/startupz", "/health", "/metrics"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
CLIENT_DISCONNECTED = 499  # as nginx counts it: nobody was left to answer

JSON_CONTENT_TYPE = (b"content-type", b"application/json")

request_id_generator = random.Random()  # seeded by the operating system; ids need only be unique, not hard to guess
error_log = logging.getLogger("recoserve.error")


@dataclass(frozen=True)
class Service:
    """The shared parts of the service that request handlers use."""

    settings: Settings
    registry: ModelRegistry
    batcher: Batcher


@dataclass(slots=True)
class Context:
    """What is known of one request; lives in `scope["recoserve"]`. Names of headers are in lower case.

    `started` and `deadline` are values of `time.monotonic()`. `model` and `deadline` are set before a JSON endpoint is called.
    `exchange` is None on servers without the extension, and from the moment when an answer of the fast path is sent. `status` is
    set just before the response starts, `complete` just before its last message, or once the exchange has sent all of it.
    """

    service: Service
    headers: dict[bytes, bytes]
    request_id: str
    trace_id: str | None
    exchange: Exchange | None
    started: float = field(default_factory=time.monotonic)
    deadline: float = 0.0
    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    status: int = 0
    complete: bool = False
    model: Model = field(init=False)


# Maps (method, path) to the function that returns the body of the response.
FastPath = Mapping[tuple[str, str], Callable[[Context, Receive], Awaitable[bytes]]]


def context_of(request: Request) -> Context:
    """The request's context, as a FastAPI dependency."""
    context: Context = request.scope["recoserve"]
    return context


Caller = Annotated[Context, Depends(context_of)]  # the type of an endpoint's parameter that gets the context of its request


class RequestContext:
    """The outermost layer. Requests in `fast_path` are answered here, without passing through `app`'s own layers."""

    def __init__(self, app: ASGIApp, fast_path: FastPath, service: Service, access_log: AccessLog) -> None:
        self._app = app
        self._fast_path = fast_path
        self._service = service
        self._registry = service.registry
        self._access_log = access_log
        self._in_flight = 0
        metrics.HTTP_IN_FLIGHT.set_function(lambda: self._in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = scope["recoserve"] = self._new_context(scope)
        answer = self._fast_path.get((scope["method"], scope["path"]))
        logged = scope["path"] not in UNLOGGED_PATHS
        self._in_flight += int(logged)
        try:
            if answer:
                await self._send_json(await answer(context, receive), context, send)
            else:
                await self._app(scope, receive, self._send_with_headers(context, send))
        except ClientDisconnect:
            pass  # nobody is left to answer
        except RequestError as error:
            await problems.answer(error, context.request_id)(scope, receive, self._send_with_headers(context, send))
        except Exception:
            error_log.exception("a defect in the service", extra={"request_id": context.request_id})
            if not context.status:
                await problems.defect(context.request_id)(scope, receive, self._send_with_headers(context, send))
            elif not context.complete:
                raise  # the response has begun: the server must close the connection
        finally:
            self._in_flight -= int(logged)
            if logged:
                method = scope["method"] if scope["method"] in METHODS else "OTHER"
                route = scope["path"] if answer else getattr(scope.get("route"), "path", "unmatched")
                status, seconds = context.status or CLIENT_DISCONNECTED, time.monotonic() - context.started
                self._access_log.add(AccessEntry(method, route, status, seconds, context.request_id, context.trace_id))

    def _new_context(self, scope: Scope) -> Context:
        headers = dict(reversed(scope["headers"]))  # of a header that was sent twice, the first counts
        # Removed from the scope to break the reference cycle of scope and exchange, so that both are freed at once.
        exchange: Exchange | None = scope.get("extensions", {}).pop(EXTENSION, None)
        sent_id, traceparent = headers.get(b"x-request-id"), headers.get(b"traceparent")
        request_id = sent_id.decode() if sent_id and REQUEST_ID.fullmatch(sent_id) else request_id_generator.randbytes(16).hex()
        trace = TRACEPARENT.fullmatch(traceparent) if traceparent else None
        return Context(self._service, headers, request_id, trace.group(1).decode() if trace else None, exchange)

    async def _send_json(self, body: bytes, context: Context, send: Send) -> None:
        context.status = 200
        headers = [(b"content-length", b"%d" % len(body)), JSON_CONTENT_TYPE, *self._common_headers(context)]
        exchange, context.exchange = context.exchange, None  # the scope holds the context: the same cycle again
        # While draining, the connection must be closed after the response; uvicorn does that only for plain ASGI messages.
        if exchange and self._registry.state is not RegistryState.DRAINING and exchange.send_whole(headers, body):
            context.complete = True
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        context.complete = True
        await send({"type": "http.response.body", "body": body})

    def _send_with_headers(self, context: Context, send: Send) -> Send:
        """A `send` that adds the headers of every response, and notes in `context` how far the response has come."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                headers = list(message.get("headers", ()))
                # A problem document may have the header that closes the connection already.
                message["headers"] = headers + [header for header in self._common_headers(context) if header not in headers]
            else:
                context.complete = not message.get("more_body")
            await send(message)

        return send_with_headers

    def _common_headers(self, context: Context) -> HeaderList:
        timing = b"queue;dur=%.3f, inference;dur=%.3f" % (context.queue_seconds * 1e3, context.run_seconds * 1e3)
        headers = [(b"x-request-id", context.request_id.encode()), (b"server-timing", timing)]
        if self._registry.state is RegistryState.DRAINING:
            headers.append((b"connection", b"close"))  # or the client might send its next request on a connection about to close
        return headers
