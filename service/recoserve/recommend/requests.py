"""What requests look like. Strict: no coercion, no unknown fields; the settings come as validation context."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from recoserve.recommend.wanted import REASONS

LONGEST_ID = 512
LONGEST_TEXT = 4096
MOST_COLUMNS = 64
LARGEST = 3.4028234663852886e38  # of float32


def _of_field(field: str, rule: str) -> PydanticCustomError:
    """What a check of several fields says of one of them; `web.problems` points at it."""
    return PydanticCustomError("of_field", "{rule}", {"rule": rule, "field": field})


def _external_id(value: Any) -> int | str:
    if type(value) is int or (type(value) is str and 0 < len(value) <= LONGEST_ID):
        return value
    raise PydanticCustomError("external_id", f"must be an integer or a string of 1 to {LONGEST_ID} characters")


def _bounded(value: Any, info: ValidationInfo) -> Any:
    """Judged before the list's members are, so that a huge list costs nothing."""
    limit = info.context.max_list_ids if info.context else None
    if limit is not None and isinstance(value, list) and len(value) > limit:
        raise PydanticCustomError("list_too_long", f"must hold at most {limit} values")
    return value


def _number(value: Any) -> float:
    if type(value) in (int, float) and abs(value) <= LARGEST:
        return float(value)
    raise PydanticCustomError("number", "must be a number that float32 can hold")


def _share(value: Any) -> float:
    if type(value) in (int, float) and 0 <= value <= 1:
        return float(value)
    raise PydanticCustomError("share", "must be a number in [0, 1]")


def _cell(value: Any) -> Any:
    if type(value) in (int, bool) or (type(value) is float and math.isfinite(value)):
        return value
    if type(value) is str and len(value) <= LONGEST_TEXT:
        return value
    raise PydanticCustomError("cell", f"must be a string of at most {LONGEST_TEXT} characters, a number or a boolean")


def _within_limit(value: int, info: ValidationInfo) -> int:
    limit = info.context.max_k if info.context else None
    if limit is not None and value > limit:
        raise PydanticCustomError("k_too_large", f"must be in [1, {limit}]")
    return value


ExternalId = Annotated[
    int | str,
    PlainValidator(_external_id),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "minLength": 1, "maxLength": LONGEST_ID}]}),
]
Ids = Annotated[list[ExternalId], BeforeValidator(_bounded)]
SomeIds = Annotated[Ids, Field(min_length=1)]
Number = Annotated[float, PlainValidator(_number), WithJsonSchema({"type": "number"})]
Share = Annotated[float, PlainValidator(_share), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]
Numbers = Annotated[list[Number], BeforeValidator(_bounded), Field(min_length=1)]
Cell = Annotated[
    str | int | float | bool,
    PlainValidator(_cell),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": LONGEST_TEXT}, {"type": "number"}, {"type": "boolean"}]}),
]
Cells = Annotated[list[Cell], BeforeValidator(_bounded), Field(min_length=1)]
K = Annotated[int, Field(ge=1), AfterValidator(_within_limit)]
Include = list[Literal["metadata", "explanation"]]

UserId = Annotated[ExternalId, Field(description="An id of the bundle: an integer, or a string where the bundle has string ids.")]
ItemId = Annotated[ExternalId, Field(description="An id of the bundle: an integer, or a string where the bundle has string ids.")]


class Request(BaseModel):
    """Whatever is asked, a model answers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    model: str | None = Field(None, min_length=1, max_length=128, description="Which of the service's models answers.")


class Clauses(BaseModel):
    """What an item's values in a column must be; each clause that is given must hold. An item may have several values."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    any: Cells | None = Field(None, description="At least one of these values.")
    all: Cells | None = Field(None, description="All of these values.")
    none: Cells | None = Field(None, description="None of these values; an item without a value passes.")
    within: Cells | None = Field(None, alias="in", description="The same as `any`.")
    eq: Cell | None = Field(None, description="This value.")
    gte: Cell | None = Field(None, description="At least this: numbers by size, strings by code points.")
    lte: Cell | None = Field(None, description="At most this, likewise.")

    @property
    def values(self) -> int:
        """How many values there are in the lists."""
        return sum(len(each or ()) for each in (self.any, self.all, self.none, self.within))

    @model_validator(mode="after")
    def _some_clause(self) -> Self:
        if not self.model_fields_set or any(getattr(self, name) is None for name in self.model_fields_set):
            raise PydanticCustomError("no_clause", "must hold at least one of any, all, none, in, eq, gte, lte, none of them null")
        return self


def _few_values(filters: dict[str, Clauses], info: ValidationInfo) -> dict[str, Clauses]:
    limit = info.context.max_list_ids if info.context else None
    if limit is not None and sum(clauses.values for clauses in filters.values()) > limit:
        raise PydanticCustomError("too_many_values", f"must hold at most {limit} values in all")
    return filters


Filter = Annotated[dict[str, Clauses], Field(max_length=MOST_COLUMNS), AfterValidator(_few_values)]


class SelectionOptions(Request):
    """Which items may be in an answer, and how many."""

    k: K = Field(10, description="How many items; more than the catalogue holds gives all of it. The limit is in `GET /model`.")
    exclude_item_ids: Ids = Field(default_factory=list, description="Items never in the answer.")
    candidate_item_ids: SomeIds | None = Field(None, description="Rank these items alone.")
    filter: Filter = Field(
        default_factory=dict,
        description="Column -> clauses that its values must meet, all of them.",
        examples=[{"genres": {"any": ["Romance"]}, "year": {"gte": 1990}}],
    )

    @property
    def conditions(self) -> dict[str, dict[str, Any]]:
        """The filter as plain values: column -> operator -> value or list."""
        return {column: clauses.model_dump(exclude_unset=True, by_alias=True) for column, clauses in self.filter.items()}


class Options(SelectionOptions):
    """What every way of recommending takes."""

    exclude_seen: bool = Field(False, description="Leave out the user's own interactions in the bundle.")
    diversity: Share = Field(
        0.0, description="0: the plain top-k. Up to 1: items less and less alike (maximal marginal relevance)."
    )
    include: Include = Field(default_factory=list, max_length=8, description="What to add to each item.")


class WithFallback(Options):
    """Options where a user may be unknown."""

    fallback: Literal["popular"] | None = Field(
        None, description="`popular`: for a user whom the bundle doesn't know, the items with most interactions."
    )


class RecommendRequest(WithFallback):
    """One user's top-k over the catalogue, or over candidates."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": 42, "k": 10, "exclude_seen": True, "include": ["metadata"]}]}
    )

    user_id: UserId


class BatchRequest(WithFallback):
    """Many users' top-k, with the same options."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_ids": [42, 7], "k": 10}]})

    user_ids: SomeIds = Field(
        description="Ids of the bundle; their number times `k` is at most `max_answer_items` of `GET /model`."
    )
    strict: bool = Field(False, description="An unknown user fails the whole request, rather than standing in `missing_user_ids`.")

    @model_validator(mode="after")
    def _answer_within_limit(self, info: ValidationInfo) -> Self:
        limit = info.context.max_answer_items if info.context else None
        each = 1 + (REASONS if "explanation" in self.include else 0)
        if limit is not None and len(self.user_ids) * self.k * each > limit:
            reasons = f" (times {each} with explanations)" if each > 1 else ""
            raise _of_field("user_ids", f"times k{reasons} must be at most {limit}; ask for fewer at a time")
        return self


class HistoryRequest(Options):
    """The top-k of somebody without a row: by items liked and disliked, or by a vector."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"item_ids": [85, 2], "negative_item_ids": [17], "k": 10, "include": ["metadata"]}]}
    )

    item_ids: SomeIds | None = Field(None, description="Items liked.")
    negative_item_ids: Ids = Field(default_factory=list, description="Items disliked.")
    weights: Numbers | None = Field(None, description="How much each of `item_ids` counts; above 0.")
    vector: Numbers | None = Field(None, description="The user's vector, `dim` numbers, in place of items.")
    exclude_seen: bool = Field(True, description="Leave out the items of the history itself, liked and disliked.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.item_ids is None) == (self.vector is None):
            raise PydanticCustomError("one_source", "give either item_ids or vector")
        if self.vector is not None and (self.weights is not None or self.negative_item_ids):
            raise _of_field("vector", "takes neither weights nor negative_item_ids beside it; they belong to item_ids")
        if self.weights is not None and self.item_ids is not None and len(self.weights) != len(self.item_ids):
            raise _of_field("weights", "must have as many numbers as item_ids has ids")
        if self.weights is not None and min(self.weights) <= 0:
            raise _of_field("weights", "must be above 0; what is disliked belongs into negative_item_ids")
        return self


class SimilarItemsRequest(SelectionOptions):
    """The items nearest to one of them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item_id": 85, "k": 5, "include": ["metadata"]}]})

    item_id: ItemId
    include: list[Literal["metadata"]] = Field(default_factory=list, max_length=8, description="What to add to each item.")


class SimilarUsersRequest(Request):
    """The users nearest to one of them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": 42, "k": 5}]})

    user_id: UserId
    k: K = Field(10, description="How many users; the limit is that of `GET /model`.")


class ScoreRequest(Request):
    """One user's scores of some items."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": 42, "item_ids": [85, 2, 17]}]})

    user_id: UserId
    item_ids: SomeIds = Field(description="The items to score.")


class ExplainRequest(Request):
    """Which of a user's own items carry the score of another."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": 42, "item_id": 85, "include": ["metadata"]}]})

    user_id: UserId
    item_id: ItemId
    k: K = Field(10, description="How many of the user's items.")
    include: list[Literal["metadata"]] = Field(default_factory=list, max_length=8, description="What to add to each item.")
