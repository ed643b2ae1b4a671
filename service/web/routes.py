"""The recommending endpoints: ids in, ids out."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request

from service import errors
from service.bundle.vocabulary import Vocabulary
from service.engine.model import Model
from service.engine.recommender import Recommendation
from service.web import limits, problems
from service.web.context import Caller
from service.web.json_route import JsonRoute, encoded
from service.web.requests import RecommendRequest
from service.web.schemas import ModelDescription, RecommendResponse

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


@json_router.post(
    "/recommend",
    response_model=RecommendResponse,
    responses=problems.responses(
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
    ),
    summary="One user's best items",
    openapi_extra={"parameters": limits.HEADERS},
)
async def recommend(caller: Caller, body: RecommendRequest) -> bytes:
    """The user's k items of highest similarity, exactly, best first."""
    service = caller.service
    deadline = limits.deadline(caller.headers, caller.started, service.settings.request_timeout_ms)
    answer, caller.queue_seconds, caller.run_seconds = await service.recommender.recommend(
        body, deadline, lambda found: encoded(recommendation(body, found))
    )
    return answer


@router.get(
    "/model",
    responses=problems.responses(errors.UnknownModel, errors.NotReady),
    summary="The model that answers",
    openapi_extra={"parameters": MODEL_PARAMETER},
)
async def describe_model(caller: Caller, request: Request) -> ModelDescription:
    """Name, version, counts, id ranges, limits and held-out measures of the default model, or of the one that `model` names."""
    settings, slot = caller.service.settings, caller.service.recommender.slot
    loaded = slot.loaded(request.query_params.get("model"))
    return ModelDescription.model_validate(
        {
            **description(loaded.model),
            "models": [_named(model) for model in slot.models],
            "limits": {name: getattr(settings, name) for name in ("max_k", "max_list_ids", "max_body_bytes", "request_timeout_ms")},
            "loaded_at": datetime.fromtimestamp(loaded.at, UTC).isoformat(timespec="seconds"),
            "load_seconds": round(loaded.seconds, 3),
        }
    )


def recommendation(wanted: RecommendRequest, found: Recommendation) -> dict[str, Any]:
    """The body of an answer, scores still float32; `recoserve recommend --json` prints the same."""
    items: list[dict[str, Any]] = [
        {"item_id": item_id, "score": score} for item_id, score in zip(found.item_ids, found.scores, strict=True)
    ]
    if "metadata" in wanted.include:
        for item, metadata in zip(items, found.metadata(), strict=True):
            item["metadata"] = metadata
    return {"user_id": wanted.user_id, "items": items, "model": _named(found.model)}


def description(model: Model) -> dict[str, Any]:
    """What `GET /model` says of the bundle itself."""
    info = model.manifest
    return {
        **{name: getattr(info, name) for name in ("name", "version", "created", "similarity", "dim", "interactions", "metrics")},
        "users": _id_space(model.bundle.users),
        "items": _id_space(model.bundle.items),
        "metadata": model.bundle.catalogue is not None,
        "provider": model.provider,
        "retrieval": model.retrieval,
    }


def _named(model: Model) -> dict[str, str]:
    return {"name": model.manifest.name, "version": model.manifest.version}


def _id_space(vocabulary: Vocabulary) -> dict[str, Any]:
    low, high = vocabulary.bounds() or (None, None)
    return {"count": len(vocabulary), "type": vocabulary.kind, "min": low, "max": high}
