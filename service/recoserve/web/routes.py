"""The recommending endpoints: ids in, ids out."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from fastapi import APIRouter, Request

from recoserve import errors
from recoserve.bundle.vocabulary import Vocabulary
from recoserve.recommend.requests import (
    BatchRequest,
    ExplainRequest,
    HistoryRequest,
    RecommendRequest,
    ScoreRequest,
    SimilarItemsRequest,
    SimilarUsersRequest,
)
from recoserve.scheduling.batcher import Done
from recoserve.search.model import Model
from recoserve.web import encoders, limits, problems
from recoserve.web.context import Caller, Context
from recoserve.web.json_route import JsonRoute, encoded
from recoserve.web.schemas import (
    BatchResponse,
    ExplainResponse,
    HistoryResponse,
    Limits,
    ModelDescription,
    RecommendResponse,
    ScoreResponse,
    SimilarItemsResponse,
    SimilarUsersResponse,
)

Body = TypeVar("Body")
Found = TypeVar("Found")
router = APIRouter(tags=["recommend"])
json_router = APIRouter(route_class=JsonRoute, tags=["recommend"])

# Told here and read from the query string: a parameter of the function would bring FastAPI's own 422, which echoes input.
MODEL_PARAMETER = [
    {
        "name": "model",
        "in": "query",
        "required": False,
        "description": "One of `models`; left out: the default.",
        "schema": {"type": "string"},
    }
]


REFUSALS = (
    errors.MalformedJson,
    problems.BodyTooLarge,
    problems.UnsupportedMediaType,
    errors.InvalidRequest,
    errors.IdOutOfRange,
    errors.UnknownId,
    errors.UnknownModel,
    errors.NotReady,
    errors.Overloaded,
    errors.DeadlineExceeded,
)
DOCUMENTED: dict[str, Any] = {"responses": problems.responses(*REFUSALS), "openapi_extra": {"parameters": limits.HEADERS}}


@json_router.post("/recommend", response_model=RecommendResponse, summary="One user's best items", **DOCUMENTED)
async def recommend(caller: Caller, body: RecommendRequest) -> bytes:
    """The user's k items of highest similarity, exactly, best first, under whatever options are given."""
    return await _answered(caller, body, caller.service.recommender.recommend, encoders.recommendation)


@json_router.post("/recommend/batch", response_model=BatchResponse, summary="Many users' best items", **DOCUMENTED)
async def recommend_batch(caller: Caller, body: BatchRequest) -> bytes:
    """As `/recommend` for each user, with the same options, in the order asked."""
    ask = caller.service.recommender.recommend_to_many
    running = ask(body, _deadline(caller), lambda user, found: encoded(encoders.of_user(body, user, found)))
    return encoders.results(await _timed(caller, running))


@json_router.post(
    "/recommend/history", response_model=HistoryResponse, summary="Best items for somebody without a row", **DOCUMENTED
)
async def recommend_history(caller: Caller, body: HistoryRequest) -> bytes:
    """For new users and sessions: by items liked and disliked, or by a vector."""
    return await _answered(caller, body, caller.service.recommender.recommend_by_history, encoders.of_history)


@json_router.post("/similar/items", response_model=SimilarItemsResponse, summary="The items nearest to one", **DOCUMENTED)
async def similar_items(caller: Caller, body: SimilarItemsRequest) -> bytes:
    """By cosine of the item vectors, the item itself left out."""
    return await _answered(caller, body, caller.service.recommender.similar_items, encoders.near_items)


@json_router.post("/similar/users", response_model=SimilarUsersResponse, summary="The users nearest to one", **DOCUMENTED)
async def similar_users(caller: Caller, body: SimilarUsersRequest) -> bytes:
    """By cosine of the user vectors, the user left out."""
    return await _answered(caller, body, caller.service.recommender.similar_users, encoders.near_users)


@json_router.post("/score", response_model=ScoreResponse, summary="One user's scores of some items", **DOCUMENTED)
async def score(caller: Caller, body: ScoreRequest) -> bytes:
    """One score for each item that the bundle knows, in the order asked."""
    return await _answered(caller, body, caller.service.recommender.score, encoders.scores)


@json_router.post("/explain", response_model=ExplainResponse, summary="What carries a score", **DOCUMENTED)
async def explain(caller: Caller, body: ExplainRequest) -> bytes:
    """The score, and the user's own items nearest to the item by cosine, with their share."""
    return await _answered(caller, body, caller.service.recommender.explain, encoders.explanation)


Ask = Callable[[Body, float, Callable[[Found], bytes]], Awaitable[Done[bytes]]]


async def _answered(caller: Context, body: Body, ask: Ask[Body, Found], answer: Callable[[Body, Found], Any]) -> bytes:
    """The bytes of what is made of what is found."""
    return await _timed(caller, ask(body, _deadline(caller), lambda found: encoded(answer(body, found))))


async def _timed(caller: Context, running: Awaitable[Done[Found]]) -> Found:
    """The result; how long it waited and ran is noted for the headers."""
    result, caller.queue_seconds, caller.run_seconds = await running
    return result


def _deadline(caller: Context) -> float:
    return limits.deadline(caller.headers, caller.started, caller.service.settings.request_timeout_ms)


@router.get(
    "/model",
    responses=problems.responses(errors.UnknownModel, errors.NotReady),
    summary="The model that answers",
    openapi_extra={"parameters": MODEL_PARAMETER},
)
async def describe_model(caller: Caller, request: Request) -> ModelDescription:
    """Name, version, counts, id ranges, limits and held-out measures of the default model, or of the one that `model` names."""
    settings, registry = caller.service.settings, caller.service.recommender.registry
    loaded = registry.loaded(request.query_params.get("model"))
    return ModelDescription.model_validate(
        {
            **description(loaded.model),
            "models": [encoders.named(model) for model in registry.models],
            "limits": {name: getattr(settings, name) for name in Limits.model_fields},
            "loaded_at": datetime.fromtimestamp(loaded.at, UTC).isoformat(timespec="seconds"),
            "load_seconds": round(loaded.seconds, 3),
        }
    )


def description(model: Model) -> dict[str, Any]:
    """What `GET /model` says of the bundle itself."""
    info = model.manifest
    return {
        **{name: getattr(info, name) for name in ("name", "version", "created", "similarity", "dim", "interactions", "metrics")},
        "users": _id_space(model.bundle.users),
        "items": _id_space(model.bundle.items),
        "metadata": model.bundle.item_metadata is not None,
        "provider": model.provider,
        "retrieval": model.retrieval,
    }


def _id_space(vocabulary: Vocabulary) -> dict[str, Any]:
    low, high = vocabulary.bounds() or (None, None)
    return {"count": len(vocabulary), "type": vocabulary.kind, "min": low, "max": high}
