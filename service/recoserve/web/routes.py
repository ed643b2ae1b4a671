"""The recommending endpoints: ids in, ids out."""

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request

from recoserve import errors
from recoserve.bundle.vocabulary import ExternalId, Vocabulary
from recoserve.recommend import top_k
from recoserve.recommend.many_users import recommend_to_many
from recoserve.recommend.requests import (
    BatchRequest,
    ExplainRequest,
    HistoryRequest,
    RecommendRequest,
    ScoreRequest,
    SimilarItemsRequest,
    SimilarUsersRequest,
)
from recoserve.recommend.scores import prepare_explanation, prepare_scores
from recoserve.recommend.similar_users import prepare_similar_users
from recoserve.recommend.top_k import Recommendation
from recoserve.scheduling.batch import Completed
from recoserve.search.model import Model
from recoserve.web import problems, timeouts
from recoserve.web.context import Caller
from recoserve.web.encoders import (
    ExplainEncoder,
    HistoryEncoder,
    ScoreEncoder,
    SimilarItemsEncoder,
    SimilarUsersEncoder,
    UserEncoder,
    batch_json,
    model_name,
    to_json,
    user_document,
)
from recoserve.web.json_route import JsonRoute
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

Answer = Awaitable[Completed[bytes]]  # the answer's JSON, once its rows have run
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
DOCUMENTED: dict[str, Any] = {"responses": problems.responses(*REFUSALS), "openapi_extra": {"parameters": timeouts.HEADERS}}


@json_router.post("/recommend", response_model=RecommendResponse, summary="One user's best items", **DOCUMENTED)
def recommend(caller: Caller, body: RecommendRequest) -> Answer:
    """The user's k items of highest similarity, exactly, best first, under whatever options are given."""
    work = top_k.for_user(caller.model, body)
    return caller.service.batcher.submit(work, UserEncoder(body, work), caller.deadline)


@json_router.post("/recommend/batch", response_model=BatchResponse, summary="Many users' best items", **DOCUMENTED)
async def recommend_batch(caller: Caller, body: BatchRequest) -> Completed[bytes]:
    """The best items of each user, as `/recommend` gives them, with the same options for all, in the order asked."""

    def encode_user(user_id: ExternalId, recommendation: Recommendation) -> bytes:
        return to_json(user_document(body, user_id, recommendation))

    completed = await recommend_to_many(caller.service.batcher, caller.model, body, caller.deadline, encode_user)
    return Completed(batch_json(completed.value, caller.model), completed.queue_seconds, completed.run_seconds)


@json_router.post(
    "/recommend/history", response_model=HistoryResponse, summary="Best items for somebody without a row", **DOCUMENTED
)
def recommend_history(caller: Caller, body: HistoryRequest) -> Answer:
    """For new users and sessions: by items liked and disliked, or by a vector."""
    work = top_k.for_history(caller.model, body)
    return caller.service.batcher.submit(work, HistoryEncoder(body, work), caller.deadline)


@json_router.post("/similar/items", response_model=SimilarItemsResponse, summary="The items nearest to one", **DOCUMENTED)
def similar_items(caller: Caller, body: SimilarItemsRequest) -> Answer:
    """By cosine of the item vectors, the item itself left out."""
    work = top_k.for_item(caller.model, body)
    return caller.service.batcher.submit(work, SimilarItemsEncoder(body, work), caller.deadline)


@json_router.post("/similar/users", response_model=SimilarUsersResponse, summary="The users nearest to one", **DOCUMENTED)
def similar_users(caller: Caller, body: SimilarUsersRequest) -> Answer:
    """By cosine of the user vectors, the user left out."""
    work = prepare_similar_users(caller.model, body)
    return caller.service.batcher.submit(work, SimilarUsersEncoder(body, work), caller.deadline)


@json_router.post("/score", response_model=ScoreResponse, summary="One user's scores of some items", **DOCUMENTED)
def score(caller: Caller, body: ScoreRequest) -> Answer:
    """One score for each item that the bundle knows, in the order asked."""
    work = prepare_scores(caller.model, body)
    return caller.service.batcher.submit(work, ScoreEncoder(body, work), caller.deadline)


@json_router.post("/explain", response_model=ExplainResponse, summary="What carries a score", **DOCUMENTED)
def explain(caller: Caller, body: ExplainRequest) -> Answer:
    """The score, and the user's own items nearest to the item by cosine, with their share."""
    work = prepare_explanation(caller.model, body)
    return caller.service.batcher.submit(work, ExplainEncoder(body, work), caller.deadline)


@router.get(
    "/model",
    responses=problems.responses(errors.UnknownModel, errors.NotReady),
    summary="The model that answers",
    openapi_extra={"parameters": MODEL_PARAMETER},
)
async def describe_model(caller: Caller, request: Request) -> ModelDescription:
    """Name, version, counts, id ranges, limits and held-out measures of the default model, or of the one that `model` names."""
    settings, registry = caller.service.settings, caller.service.registry
    loaded = registry.loaded(request.query_params.get("model"))
    return ModelDescription.model_validate(
        {
            **description(loaded.model),
            "models": [model_name(model) for model in registry.models],
            "limits": {name: getattr(settings, name) for name in Limits.model_fields},
            "loaded_at": datetime.fromtimestamp(loaded.at, UTC).isoformat(timespec="seconds"),
            "load_seconds": round(loaded.seconds, 3),
        }
    )


def description(model: Model) -> dict[str, Any]:
    """What `GET /model` says of the bundle itself."""
    manifest = model.manifest
    return {
        **{
            name: getattr(manifest, name) for name in ("name", "version", "created", "similarity", "dim", "interactions", "metrics")
        },
        "users": _id_space(model.bundle.users),
        "items": _id_space(model.bundle.items),
        "metadata": model.bundle.item_metadata is not None,
        "provider": model.provider,
        "retrieval": model.retrieval,
    }


def _id_space(vocabulary: Vocabulary) -> dict[str, Any]:
    low, high = vocabulary.bounds() or (None, None)
    return {"count": len(vocabulary), "type": vocabulary.kind, "min": low, "max": high}
