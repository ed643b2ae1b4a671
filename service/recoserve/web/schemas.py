"""What answers look like."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from recoserve.recommend.requests import IdValue


class Reason(BaseModel):
    """One of the user's own items that carry a score."""

    item_id: IdValue
    cosine: float = Field(description="Of both item vectors, float32.")
    share: float = Field(description="The cosine's part of the sum of the positive cosines of all the user's items.")
    metadata: dict[str, Any] | None = Field(None, description="The item's columns, where asked for.")


class ScoredItem(BaseModel):
    """One recommended item."""

    item_id: IdValue
    score: float = Field(description="The bundle's similarity, float32; for cosine in [-1, 1]. Of a fallback: interactions.")
    metadata: dict[str, Any] | None = Field(None, description="The item's columns, where asked for.")
    explanation: list[Reason] | None = Field(None, description="Which of the user's own items carry the score, where asked for.")


class ModelName(BaseModel):
    """Which model answered."""

    name: str
    version: str


class UserItems(BaseModel):
    """One user's items, best first; equal scores in the bundle's own item order. Fewer than k where no more are left."""

    user_id: IdValue
    items: list[ScoredItem]
    fallback: Literal["popular"] | None = Field(None, description="For a user whom the bundle doesn't know, where asked for.")


class RecommendResponse(UserItems):
    """One user's items, and the model that ranked them."""

    model: ModelName


class BatchResponse(BaseModel):
    """Results in the order asked; users whom the bundle doesn't know have none."""

    results: list[UserItems]
    missing_user_ids: list[IdValue]
    model: ModelName


class HistoryResponse(BaseModel):
    """Best first."""

    items: list[ScoredItem]
    model: ModelName


class NearItem(BaseModel):
    """One near item."""

    item_id: IdValue
    score: float = Field(description="Cosine of both item vectors, float32.")
    metadata: dict[str, Any] | None = Field(None, description="The item's columns, where asked for.")


class SimilarItemsResponse(BaseModel):
    """NeighbourQuery first."""

    item_id: IdValue
    items: list[NearItem]
    model: ModelName


class NearUser(BaseModel):
    """One near user."""

    user_id: IdValue
    score: float = Field(description="Cosine of both user vectors, float32.")


class SimilarUsersResponse(BaseModel):
    """NeighbourQuery first."""

    user_id: IdValue
    users: list[NearUser]
    model: ModelName


class ItemScore(BaseModel):
    """One score."""

    item_id: IdValue
    score: float = Field(description="The bundle's similarity, float32.")


class ScoreResponse(BaseModel):
    """One score for each known item, in the order asked."""

    user_id: IdValue
    items: list[ItemScore]
    missing_item_ids: list[IdValue]
    model: ModelName


class ExplainResponse(BaseModel):
    """The score, and the user's own items nearest to the item, nearest first; none for a user without interactions."""

    user_id: IdValue
    item_id: IdValue
    score: float
    items: list[Reason]
    model: ModelName


class IdSpace(BaseModel):
    """The ids of one side: `row` ids are 0 … count-1; `min` and `max` where every integer between is an id."""

    count: int
    type: Literal["row", "integer", "string"]
    min: int | None = None
    max: int | None = None


class Limits(BaseModel):
    """What one request may ask for."""

    max_k: int = Field(description="Largest `k`.")
    max_list_ids: int = Field(description="Most ids in one list, most values in a filter.")
    max_answer_items: int = Field(description="Most users times `k` in one batch.")
    max_body_bytes: int
    request_timeout_ms: int


class ModelDescription(BaseModel):
    """The model that answers, and the names of all."""

    name: str
    version: str
    created: str
    similarity: Literal["cosine", "dot", "model"]
    dim: int | None = Field(description="Width of the vectors; null for a model that ranks by more than one dot product.")
    users: IdSpace
    items: IdSpace
    interactions: int = Field(description="Pairs that `exclude_seen`, `fallback` and explanations know.")
    metadata: bool = Field(description="Whether the bundle holds item metadata.")
    provider: Literal["cpu", "cuda"]
    retrieval: Literal["exact", "plain"] = Field(
        description="By proved bounds, or by a full scan (CUDA; models without vectors); the same answers."
    )
    limits: Limits
    loaded_at: str = Field(description="UTC, ISO 8601.")
    load_seconds: float
    metrics: dict[str, Any] = Field(description="Held-out measures from training, as the bundle has them.")
    models: list[ModelName] = Field(description="All that the service holds, the default one first.")


class Health(BaseModel):
    """Whether the service would answer a request now."""

    status: Literal["ready", "loading", "draining", "failed"]
    model: ModelName | None = None


class ProblemError(BaseModel):
    """One field at fault."""

    pointer: str = Field(description="JSON Pointer (RFC 6901) into the request's body.")
    detail: str


class Problem(BaseModel):
    """RFC 9457, with the request's id."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[ProblemError] | None = Field(None, description="At most 20, where fields are at fault.")
