"""The short way to the JSON routes: past FastAPI's own layers, which a declared route has no use for."""

from collections.abc import Iterable

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from service.web.json_route import JsonRoute


class Lane:
    """Answers requests for a `JsonRoute`'s method and exact path itself; all else takes FastAPI's way."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        json_routes = [route for route in routes if isinstance(route, JsonRoute)]
        self._routes = {(method, route.path): route for route in json_routes for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        await route.answer(scope, receive, send)
