"""Answers as JSON. A route makes an encoder, which is called in the thread that runs the model; scores are written as float32."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from recoserve.bundle.vocabulary import ExternalId
from recoserve.recommend.many_users import BatchResults
from recoserve.recommend.reasons import Reasons, explanations
from recoserve.recommend.requests import (
    BatchRequest,
    ExplainRequest,
    HistoryRequest,
    RecommendRequest,
    ScoreRequest,
    SimilarItemsRequest,
    SimilarUsersRequest,
)
from recoserve.recommend.scores import ExplainWork, ScoreWork
from recoserve.recommend.similar_users import SimilarUsersWork
from recoserve.recommend.top_k import RankedItems, Recommendation, TopKWork
from recoserve.search.model import Model
from recoserve.search.query import Ranking

MAX_ORJSON_BITS = 63  # orjson writes every integer of so many bits, and not every longer one


class UserEncoder(NamedTuple):
    """Encodes the answer to `/recommend`."""

    request: RecommendRequest
    work: TopKWork

    def encode(self, rankings: Sequence[Ranking]) -> bytes:
        return to_json(self.document(rankings[0]))

    def document(self, ranking: Ranking) -> dict[str, Any]:
        """The answer as a dict, its scores float32; `recoserve recommend` prints it."""
        document = user_document(self.request, self.request.user_id, self.work.recommendation(ranking))
        document["model"] = model_name(self.work.model)
        return document


class HistoryEncoder(NamedTuple):
    """Encodes the answer to `/recommend/history`."""

    request: HistoryRequest
    work: TopKWork

    def encode(self, rankings: Sequence[Ranking]) -> bytes:
        recommendation = self.work.recommendation(rankings[0])
        items = _items_with_explanations(self.request.include, recommendation)
        return to_json({"items": items, "model": model_name(self.work.model)})


class SimilarItemsEncoder(NamedTuple):
    """Encodes the answer to `/similar/items`."""

    request: SimilarItemsRequest
    work: TopKWork

    def encode(self, rankings: Sequence[Ranking]) -> bytes:
        items = _items(self.request.include, self.work.recommendation(rankings[0]).items)
        return to_json({"item_id": self.request.item_id, "items": items, "model": model_name(self.work.model)})


class SimilarUsersEncoder(NamedTuple):
    """Encodes the answer to `/similar/users`."""

    request: SimilarUsersRequest
    work: SimilarUsersWork

    def encode(self, rankings: Sequence[Ranking]) -> bytes:
        nearest = self.work.nearest(rankings[0])
        pairs = zip(nearest.ids, nearest.cosines, strict=True)
        users = [{"user_id": user_id, "score": cosine} for user_id, cosine in pairs]
        return to_json({"user_id": self.request.user_id, "users": users, "model": model_name(self.work.model)})


class ScoreEncoder(NamedTuple):
    """Encodes the answer to `/score`."""

    request: ScoreRequest
    work: ScoreWork

    def encode(self, rankings: Sequence[Ranking]) -> bytes:
        ids, scored = self.request.item_ids, self.work.scores(rankings[0])
        pairs = zip(scored.known_positions, scored.scores, strict=True)
        document = {
            "user_id": self.request.user_id,
            "items": [{"item_id": ids[index], "score": score} for index, score in pairs],
            "missing_item_ids": [ids[index] for index in scored.missing_positions],
            "model": model_name(self.work.model),
        }
        return to_json(document)


class ExplainEncoder(NamedTuple):
    """Encodes the answer to `/explain`."""

    request: ExplainRequest
    work: ExplainWork

    def encode(self, rankings: Sequence[Ranking]) -> bytes:
        explanation = self.work.explanation(rankings[0])
        document = {
            "user_id": self.request.user_id,
            "item_id": self.request.item_id,
            "score": explanation.score,
            "items": _reasons(self.request.include, explanation.reasons),
            "model": model_name(self.work.model),
        }
        return to_json(document)


def batch_json(results: BatchResults, model: Model) -> bytes:
    """The answer to `/recommend/batch`, from users' answers that are encoded already."""
    users = [orjson.Fragment(encoded) for encoded in results.encoded]
    return to_json({"results": users, "missing_user_ids": results.missing, "model": model_name(model)})


def user_document(request: RecommendRequest | BatchRequest, user_id: ExternalId, recommendation: Recommendation) -> dict[str, Any]:
    """One user's items, as a dict; its scores are float32."""
    document: dict[str, Any] = {"user_id": user_id, "items": _items_with_explanations(request.include, recommendation)}
    if recommendation.popular:
        document["fallback"] = "popular"
    return document


def model_name(model: Model) -> dict[str, str]:
    """Which model answered."""
    return {"name": model.manifest.name, "version": model.manifest.version}


def _items_with_explanations(include: Sequence[str], recommendation: Recommendation) -> list[dict[str, Any]]:
    items = _items(include, recommendation.items)
    if "explanation" in include:
        for item, reasons in zip(items, explanations(recommendation), strict=True):
            item["explanation"] = _reasons((), reasons)
    return items


def _items(include: Sequence[str], ranked: RankedItems) -> list[dict[str, Any]]:
    pairs = zip(ranked.ids, ranked.scores, strict=True)
    items: list[dict[str, Any]] = [{"item_id": item_id, "score": score} for item_id, score in pairs]
    if "metadata" in include:
        for item, metadata in zip(items, ranked.metadata(), strict=True):
            item["metadata"] = metadata
    return items


def _reasons(include: Sequence[str], reasons: Reasons) -> list[dict[str, Any]]:
    items = zip(_items(include, reasons.items), reasons.shares, strict=True)
    return [{"item_id": item.pop("item_id"), "cosine": item.pop("score"), "share": share, **item} for item, share in items]


def to_json(document: Any) -> bytes:
    """JSON bytes, float32 in its shortest form. Integers beyond 64 bits, which ids and item metadata may hold, are written too."""
    try:
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError:
        return orjson.dumps(_with_long_integers(document), option=orjson.OPT_SERIALIZE_NUMPY)


def _with_long_integers(value: Any) -> Any:
    """A copy in which long integers are written out as JSON."""
    if isinstance(value, dict):
        return {name: _with_long_integers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_long_integers(element) for element in value]
    if type(value) is int and value.bit_length() > MAX_ORJSON_BITS:
        return orjson.Fragment(str(value).encode())
    return value
