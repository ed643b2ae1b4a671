"""What requests and answers look like. Strict: no coercion, no unknown fields; the settings come as validation context."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

LONGEST_ID = 512


def _external_id(value: Any) -> int | str:
    if type(value) is int or (type(value) is str and 0 < len(value) <= LONGEST_ID):
        return value
    raise PydanticCustomError("external_id", f"must be an integer or a string of 1 to {LONGEST_ID} characters")


def _bounded(value: Any, info: ValidationInfo) -> Any:
    """Judged before the list's members are, so that a huge list costs nothing."""
    limit = info.context.max_list_ids if info.context else None
    if limit is not None and isinstance(value, list) and len(value) > limit:
        raise PydanticCustomError("list_too_long", f"must hold at most {limit} ids")
    return value


ExternalId = Annotated[
    int | str,
    PlainValidator(_external_id),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "minLength": 1, "maxLength": LONGEST_ID}]}),
]
Ids = Annotated[list[ExternalId], BeforeValidator(_bounded)]


class RecommendRequest(BaseModel):
    """One user's top-k over the catalogue, or over candidates."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={"examples": [{"user_id": 42, "k": 10, "exclude_seen": True, "include": ["metadata"]}]},
    )

    user_id: ExternalId = Field(description="An id of the bundle: an integer, or a string where the bundle has string ids.")
    k: int = Field(
        10, ge=1, description="How many items; more than the catalogue holds gives all of it. The limit is in `GET /model`."
    )
    exclude_item_ids: Ids = Field(default_factory=list, description="Items never in the answer.")
    exclude_seen: bool = Field(False, description="Leave out the user's own interactions in the bundle.")
    candidate_item_ids: Annotated[Ids, Field(min_length=1)] | None = Field(None, description="Rank these items alone.")
    include: list[Literal["metadata"]] = Field(default_factory=list, max_length=8, description="What to add to each item.")

    @field_validator("k")
    @classmethod
    def _k_within_limit(cls, value: int, info: ValidationInfo) -> int:
        limit = info.context.max_k if info.context else None
        if limit is not None and value > limit:
            raise PydanticCustomError("k_too_large", f"must be in [1, {limit}]")
        return value


class ScoredItem(BaseModel):
    """One recommended item."""

    item_id: ExternalId
    score: float = Field(description="The bundle's similarity, float32; for cosine in [-1, 1].")
    metadata: dict[str, Any] | None = Field(None, description="The item's columns, where asked for.")


class ModelName(BaseModel):
    """Which model answered."""

    name: str
    version: str


class RecommendResponse(BaseModel):
    """Best first; equal scores in the bundle's own item order. Fewer than k where no more are left."""

    user_id: ExternalId
    items: list[ScoredItem]
    model: ModelName


class IdSpace(BaseModel):
    """The ids of one side: `row` ids are 0 … count-1; `min` and `max` where every integer between is an id."""

    count: int
    type: Literal["row", "integer", "string"]
    min: int | None = None
    max: int | None = None


class Limits(BaseModel):
    """What one request may ask for."""

    max_k: int
    max_list_ids: int
    max_body_bytes: int
    request_timeout_ms: int


class ModelDescription(BaseModel):
    """The model that answers."""

    name: str
    version: str
    created: str
    similarity: Literal["cosine", "dot", "model"]
    dim: int | None = Field(description="Width of the vectors; null for a model that ranks by more than one dot product.")
    users: IdSpace
    items: IdSpace
    interactions: int = Field(description="Seen pairs that `exclude_seen` knows.")
    metadata: bool = Field(description="Whether the bundle holds item metadata.")
    provider: Literal["cpu", "cuda"]
    retrieval: Literal["exact", "plain"] = Field(
        description="By proved bounds, or by a full scan (small catalogues, CUDA); the same answers."
    )
    limits: Limits
    loaded_at: str = Field(description="UTC, ISO 8601.")
    load_seconds: float
    metrics: dict[str, Any] = Field(description="Held-out measures from training, as the bundle has them.")


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
