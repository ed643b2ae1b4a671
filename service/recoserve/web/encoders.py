"""Answers as JSON has them, scores still float32."""

from collections.abc import Sequence
from typing import Any

import orjson

from recoserve.bundle.vocabulary import ExternalId
from recoserve.recommend.recommender import Results
from recoserve.recommend.requests import (
    BatchRequest,
    ExplainRequest,
    HistoryRequest,
    RecommendRequest,
    ScoreRequest,
    SimilarItemsRequest,
    SimilarUsersRequest,
)
from recoserve.recommend.results import Explanation, Items, Near, Reasons, Recommendation, Scores
from recoserve.search.model import Model
from recoserve.web.json_route import encoded


def recommendation(wanted: RecommendRequest, found: Recommendation) -> dict[str, Any]:
    """The body of an answer to `/recommend`; `recoserve recommend --json` prints the same."""
    answer = of_user(wanted, wanted.user_id, found)
    answer["model"] = named(found.items.model)
    return answer


def of_user(wanted: RecommendRequest | BatchRequest, user_id: ExternalId, found: Recommendation) -> dict[str, Any]:
    """One user's part of an answer."""
    answer: dict[str, Any] = {"user_id": user_id, "items": _recommended(wanted, found)}
    if found.popular:
        answer["fallback"] = "popular"
    return answer


def results(found: Results) -> bytes:
    """The body of an answer to `/recommend/batch`, from results that are encoded already."""
    parts = [orjson.Fragment(part) for part in found.found]
    return encoded({"results": parts, "missing_user_ids": found.missing, "model": named(found.model)})


def of_history(wanted: HistoryRequest, found: Recommendation) -> dict[str, Any]:
    """The body of an answer to `/recommend/history`."""
    return {"items": _recommended(wanted, found), "model": named(found.items.model)}


def near_items(wanted: SimilarItemsRequest, found: Items) -> dict[str, Any]:
    """The body of an answer to `/similar/items`."""
    return {"item_id": wanted.item_id, "items": _items(wanted.include, found), "model": named(found.model)}


def near_users(wanted: SimilarUsersRequest, found: Near) -> dict[str, Any]:
    """The body of an answer to `/similar/users`."""
    users = [{"user_id": external, "score": cosine} for external, cosine in zip(found.ids, found.cosines, strict=True)]
    return {"user_id": wanted.user_id, "users": users, "model": named(found.model)}


def scores(wanted: ScoreRequest, found: Scores) -> dict[str, Any]:
    """The body of an answer to `/score`."""
    known = (wanted.item_ids[place] for place in found.known)
    return {
        "user_id": wanted.user_id,
        "items": [{"item_id": external, "score": score} for external, score in zip(known, found.scores, strict=True)],
        "missing_item_ids": [wanted.item_ids[place] for place in found.missing],
        "model": named(found.model),
    }


def explanation(wanted: ExplainRequest, found: Explanation) -> dict[str, Any]:
    """The body of an answer to `/explain`."""
    return {
        "user_id": wanted.user_id,
        "item_id": wanted.item_id,
        "score": found.score,
        "items": _reasons(wanted.include, found.reasons),
        "model": named(found.reasons.items.model),
    }


def named(model: Model) -> dict[str, str]:
    """Which model answered."""
    return {"name": model.manifest.name, "version": model.manifest.version}


def _recommended(wanted: RecommendRequest | BatchRequest | HistoryRequest, found: Recommendation) -> list[dict[str, Any]]:
    items = _items(wanted.include, found.items)
    if "explanation" in wanted.include:
        for item, because in zip(items, found.explanations(), strict=True):
            item["explanation"] = _reasons((), because)
    return items


def _items(include: Sequence[str], found: Items) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [{"item_id": each, "score": score} for each, score in zip(found.ids, found.scores, strict=True)]
    if "metadata" in include:
        for item, metadata in zip(items, found.metadata(), strict=True):
            item["metadata"] = metadata
    return items


def _reasons(include: Sequence[str], found: Reasons) -> list[dict[str, Any]]:
    items = zip(_items(include, found.items), found.shares, strict=True)
    return [{"item_id": item.pop("item_id"), "cosine": item.pop("score"), "share": share, **item} for item, share in items]
