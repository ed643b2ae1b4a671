"""The application: the service's parts, put together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp

from recoserve.scheduling.batcher import Batcher
from recoserve.scheduling.registry import ModelRegistry
from recoserve.search.model import Model
from recoserve.settings import Settings
from recoserve.web import operations, problems, routes
from recoserve.web.access_log import AccessLog
from recoserve.web.context import RequestContext, Service
from recoserve.web.json_route import fast_path

DESCRIPTION = """Exact top-k recommendations from a trained user-item embedding model.

Every error, of every route, is `application/problem+json` (RFC 9457)."""


Loaders = Sequence[Callable[[], Model]]


class Application(NamedTuple):
    """`asgi` is for a server to run: `RequestContext` around FastAPI's `api`, answering with the models in `registry`."""

    asgi: ASGIApp
    api: FastAPI
    registry: ModelRegistry


def create_app(settings: Settings, loaders: Loaders, loaded: Callable[[ModelRegistry], None] | None = None) -> Application:
    """An application that loads its models when it starts serving, the default one first, and calls `loaded` once that has ended,
    whether it succeeded or failed.

    Until they are loaded `/livez` says 200 and `/readyz` 503. FastAPI's reference page is served from the package, not from a CDN.
    """
    registry = ModelRegistry()
    batcher = Batcher(settings.max_queue_rows, settings.max_batch_rows)
    access_log = AccessLog(settings.log_format)

    @asynccontextmanager
    async def lifespan(_api: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(_load(registry, loaders, loaded))
        yield
        await loading
        await batcher.close()
        access_log.flush()

    api: FastAPI = FastAPIOffline(
        title="recoserve",
        version=version("recoserve"),
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    api.include_router(routes.json_router)
    api.include_router(routes.router)
    api.include_router(operations.router)
    problems.install(api)
    _document_problems(api)
    service = Service(settings, registry, batcher)
    return Application(RequestContext(api, fast_path(routes.json_router.routes), service, access_log), api, registry)


async def _load(registry: ModelRegistry, loaders: Loaders, loaded: Callable[[ModelRegistry], None] | None) -> None:
    await asyncio.to_thread(registry.load, loaders)
    if loaded:
        loaded(registry)


def _document_problems(api: FastAPI) -> None:
    """Put the problem document's schema into OpenAPI, and take out FastAPI's own 422, which never occurs."""
    generate = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            schemas = generate().setdefault("components", {}).setdefault("schemas", {})
            definitions = dict(problems.PROBLEM_SCHEMA)
            schemas.update(definitions.pop("$defs", {}))
            schemas["Problem"] = definitions
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
        assert api.openapi_schema is not None  # noqa: S101  # `generate` sets it
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend its schema
