"""Health and metrics, for orchestrators and scrapers. They wait for no queue and need no key."""

from fastapi import APIRouter
from prometheus_client import REGISTRY, exposition
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from recoserve import errors
from recoserve.errors import NotReady
from recoserve.scheduling.registry import RegistryState
from recoserve.web import problems
from recoserve.web.context import Caller
from recoserve.web.schemas import Health

router = APIRouter(tags=["operations"])

NOT_READY = problems.responses(errors.NotReady)
STATUS = {
    RegistryState.EMPTY: "loading",
    RegistryState.LOADING: "loading",
    RegistryState.READY: "ready",
    RegistryState.FAILED: "failed",
    RegistryState.DRAINING: "draining",
}


@router.get("/livez", response_class=PlainTextResponse, summary="The process answers")
async def livez() -> str:
    """200 as long as the process answers; depends on nothing else."""
    return "ok"


@router.get("/startupz", response_class=PlainTextResponse, responses=NOT_READY, summary="The models are loaded and warm")
async def startupz(caller: Caller) -> str:
    """503 until the models are loaded; 200 from then on."""
    if not caller.service.registry.started:
        raise NotReady("the models are still loading")
    return "ok"


@router.get("/readyz", response_class=PlainTextResponse, responses=NOT_READY, summary="A request would be answered now")
async def readyz(caller: Caller) -> str:
    """503 before the models are loaded and while draining."""
    _require_ready(caller)
    return "ok"


@router.get("/health", response_model_exclude_none=True, responses=NOT_READY, summary="Readiness, with a JSON body")
async def health(caller: Caller) -> Health:
    """What state the service is in, and which model answers where a request names none."""
    _require_ready(caller)
    registry = caller.service.registry
    info = registry.current().manifest
    return Health.model_validate({"status": STATUS[registry.state], "model": {"name": info.name, "version": info.version}})


@router.get("/metrics", response_class=PlainTextResponse, summary="Prometheus metrics")
async def metrics(caller: Caller) -> Response:
    """Prometheus text, or OpenMetrics where the `Accept` header asks for it."""
    encode, content_type = exposition.choose_encoder(caller.headers.get(b"accept", b"").decode("latin-1"))
    return Response(encode(REGISTRY), media_type=content_type)


@router.get("/", include_in_schema=False)
async def home() -> Response:
    """The page for people."""
    return RedirectResponse("/docs")


def _require_ready(caller: Caller) -> None:
    registry = caller.service.registry
    if not registry.ready:
        raise NotReady(f"the service is {STATUS[registry.state]}")
