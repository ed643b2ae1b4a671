"""The FastAPI application: rooms wired together, nothing decided here."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from service.engine.batcher import Batcher
from service.engine.model import Model
from service.engine.recommender import Recommender
from service.engine.slot import Slot
from service.settings import Settings
from service.web import operations, problems, routes
from service.web.access_log import AccessLog
from service.web.context import RequestContext
from service.web.lane import Lane

DESCRIPTION = """Exact top-k recommendations from a trained user-item embedding model.

Every error, of every route, is `application/problem+json` (RFC 9457)."""


def create_app(settings: Settings, loader: Callable[[], Model], loaded: Callable[[Slot], None] | None = None) -> FastAPI:
    """An application that starts loading with `loader` when it starts serving, and calls `loaded` when that has ended.

    Until then `/livez` says 200 and `/readyz` 503. FastAPI's reference page is served from the package, not from a CDN.
    """
    batcher = Batcher(settings.max_queue_rows, settings.max_batch_rows)
    recommender = Recommender(Slot(), batcher)
    access_log = AccessLog(settings.log_format)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(_load(recommender.slot, loader, loaded))
        yield
        await loading
        await batcher.close()
        access_log.flush()

    app: FastAPI = FastAPIOffline(
        title="recoserve",
        version=version("recoserve"),
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.recommender = recommender
    app.include_router(routes.json_router)
    app.include_router(routes.router)
    app.include_router(operations.router)
    problems.install(app)
    app.add_middleware(Lane, routes=routes.json_router.routes)
    app.add_middleware(RequestContext, slot=recommender.slot, access_log=access_log)
    _document_problems(app)
    return app


async def _load(slot: Slot, loader: Callable[[], Model], loaded: Callable[[Slot], None] | None) -> None:
    await asyncio.to_thread(slot.load, loader)
    if loaded:
        loaded(slot)


def _document_problems(app: FastAPI) -> None:
    """Put the problem document's schema into OpenAPI, and take out FastAPI's own 422, which never occurs."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schemas = plain().setdefault("components", {}).setdefault("schemas", {})
            definitions = dict(problems.PROBLEM_SCHEMA)
            schemas.update(definitions.pop("$defs", {}))
            schemas["Problem"] = definitions
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
        assert app.openapi_schema is not None  # noqa: S101  # `plain` sets it
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend its schema
