"""A FastAPI route with strict JSON parsing: FastAPI documents it, and `JsonRoute.answer` answers its requests."""

import asyncio
from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from recoserve.recommend.requests import Request
from recoserve.web import json_body, timeouts
from recoserve.web.context import Context, FastPath


class JsonRoute(APIRoute):
    """For endpoints of the form `def endpoint(caller: Caller, body: Schema) -> Awaitable[Completed[bytes]]`.

    An endpoint returns the response body, JSON bytes, with its timings. FastAPI's own handler repeats the client's input in its
    422, sometimes accepts `"1"` for 1, and crashes if that input can't be written as JSON again (NaN).
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._schema: type[Request] = signature(endpoint, eval_str=True).parameters["body"].annotation

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that Starlette's router brings: with another method, or where nothing stands around the application."""
        if scope["method"] in (self.methods or ()):
            answer = await self.answer(scope["recoserve"], receive)
            await Response(answer, media_type="application/json")(scope, receive, send)
        else:
            await super().handle(scope, receive, send)  # the 405

    async def answer(self, context: Context, receive: Receive) -> bytes:
        """The response body. `RequestContext` turns what this raises into a problem document.

        If the client disconnects while the endpoint runs, the task is cancelled and ClientDisconnect is raised.
        """
        service, settings = context.service, context.service.settings
        request = await json_body.read_request(self._schema, context.headers, receive, settings)
        # `current` raises for an unknown name, and for any name before the models are loaded.
        context.model = service.registry.by_name.get(request.model) or service.registry.current(request.model)
        header = context.headers.get(timeouts.TIMEOUT_HEADER)
        timeout_ms = settings.request_timeout_ms if header is None else timeouts.timeout_ms(header, settings.request_timeout_ms)
        context.deadline = context.started + timeout_ms / 1e3
        exchange = context.exchange
        if exchange:
            exchange.task = asyncio.current_task()
        try:
            body: bytes
            body, context.queue_seconds, context.run_seconds = await self.endpoint(context, request)
        except asyncio.CancelledError:
            if exchange and exchange.disconnected:
                raise ClientDisconnect from None
            raise  # the server is shutting down and cancels its tasks
        finally:
            if exchange:
                exchange.task = None
        return body


def fast_path(routes: Iterable[BaseRoute]) -> FastPath:
    """Maps (method, path) to the `answer` of each JSON route, so that these requests bypass FastAPI's own layers."""
    json_routes = [route for route in routes if isinstance(route, JsonRoute)]
    return {(method, route.path): route.answer for route in json_routes for method in route.methods or ()}
