"""A FastAPI route that reads JSON strictly: documented by its signature, answered by one plain ASGI function."""

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
    """For endpoints of the form `def endpoint(caller: Caller, body: Schema) -> Awaitable[Completed[bytes]]`, the answer's JSON.

    FastAPI's own handler would echo input in its 422, take `"1"` for 1 in places, and fail on what JSON can't hold.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._schema: type[Request] = signature(endpoint, eval_str=True).parameters["body"].annotation

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that comes through Starlette's router, not by the fast path."""
        if scope["method"] in (self.methods or ()):
            answer = await self.answer(scope["recoserve"], receive)
            await Response(answer, media_type="application/json")(scope, receive, send)
        else:
            await super().handle(scope, receive, send)  # the 405

    async def answer(self, context: Context, receive: Receive) -> bytes:
        """The JSON of the answer; what this raises becomes a problem document in `context`.

        If the client disconnects, the task that runs this is cancelled, and raises ClientDisconnect.
        """
        service, settings = context.service, context.service.settings
        request = await json_body.read_request(self._schema, context.headers, receive, settings)
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
            raise  # the server gives up on its tasks
        finally:
            if exchange:
                exchange.task = None
        return body


def fast_path(routes: Iterable[BaseRoute]) -> FastPath:
    """The JSON routes by method and path: requests for them don't pass through the layers that FastAPI has around its routes."""
    json_routes = [route for route in routes if isinstance(route, JsonRoute)]
    return {(method, route.path): route.answer for route in json_routes for method in route.methods or ()}
