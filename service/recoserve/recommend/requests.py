"""The requests, as pydantic models. Strict: no coercion, no unknown fields.

The service's limits (`RequestLimits`) come as validation context; without a context there are none.
"""

import math
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from recoserve.recommend.validation import invalid_request

MAX_REASONS = 5  # that explain one item of a list
MAX_ID_LENGTH = 512
MAX_TEXT_LENGTH = 4096
MAX_FILTER_COLUMNS = 64
MAX_FLOAT32 = 3.4028234663852886e38  # of float32


class RequestLimits(Protocol):
    """The limits that a service sets; `settings.Settings` has them."""

    @property
    def max_k(self) -> int: ...
    @property
    def max_list_ids(self) -> int: ...
    @property
    def max_answer_items(self) -> int: ...


def _field_error(field: str, rule: str) -> PydanticCustomError:
    """The error of a check of several fields, at one of them: `web.problems` points at that field."""
    return PydanticCustomError("of_field", "{rule}", {"rule": rule, "field": field})


def _external_id(value: Any) -> int | str:
    if type(value) is int or (type(value) is str and 0 < len(value) <= MAX_ID_LENGTH):
        return value
    raise PydanticCustomError("external_id", f"must be an integer or a string of 1 to {MAX_ID_LENGTH} characters")


def _within_list_limit(value: Any, info: ValidationInfo) -> Any:
    """Check the length before the members are, so that a huge list is refused at no cost."""
    limit = info.context.max_list_ids if info.context else None
    if limit is not None and isinstance(value, list) and len(value) > limit:
        raise PydanticCustomError("list_too_long", f"must hold at most {limit} values")
    return value


def _number(value: Any) -> float:
    if type(value) in (int, float) and abs(value) <= MAX_FLOAT32:
        return float(value)
    raise PydanticCustomError("number", "must be a number that float32 can hold")


def _share(value: Any) -> float:
    if type(value) in (int, float) and 0 <= value <= 1:
        return float(value)
    raise PydanticCustomError("share", "must be a number in [0, 1]")


def _cell(value: Any) -> Any:
    if type(value) in (int, bool) or (type(value) is float and math.isfinite(value)):
        return value
    if type(value) is str and len(value) <= MAX_TEXT_LENGTH:
        return value
    raise PydanticCustomError("cell", f"must be a string of at most {MAX_TEXT_LENGTH} characters, a number or a boolean")


def _within_k_limit(value: int, info: ValidationInfo) -> int:
    limit = info.context.max_k if info.context else None
    if limit is not None and value > limit:
        raise PydanticCustomError("k_too_large", f"must be in [1, {limit}]")
    return value


IdValue = Annotated[
    int | str,
    PlainValidator(_external_id),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}]}),
]
Ids = Annotated[list[IdValue], BeforeValidator(_within_list_limit)]
NonEmptyIds = Annotated[Ids, Field(min_length=1)]
Number = Annotated[float, PlainValidator(_number), WithJsonSchema({"type": "number"})]
Share = Annotated[float, PlainValidator(_share), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]
Numbers = Annotated[list[Number], BeforeValidator(_within_list_limit), Field(min_length=1)]
Cell = Annotated[
    str | int | float | bool,
    PlainValidator(_cell),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": MAX_TEXT_LENGTH}, {"type": "number"}, {"type": "boolean"}]}),
]
Cells = Annotated[list[Cell], BeforeValidator(_within_list_limit), Field(min_length=1)]
K = Annotated[int, Field(ge=1), AfterValidator(_within_k_limit)]
Include = list[Literal["metadata", "explanation"]]

UserId = Annotated[IdValue, Field(description="An id of the bundle: an integer, or a string where the bundle has string ids.")]
ItemId = Annotated[IdValue, Field(description="An id of the bundle: an integer, or a string where the bundle has string ids.")]


class Request(BaseModel):
    """The fields that every request has."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    model: str | None = Field(None, min_length=1, max_length=128, description="Which of the service's models answers.")

    @classmethod
    def from_document(cls, document: Any, limits: RequestLimits) -> Self:
        """A request from a parsed JSON document, within the service's limits; raises InvalidRequest with the fields at fault."""
        try:
            return cls.model_validate(document, context=limits)
        except ValidationError as error:
            raise invalid_request(error) from None


class Clauses(BaseModel):
    """What an item's values in a column must be; each clause that is given must hold. An item may have several values."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    any: Cells | None = Field(None, description="At least one of these values.")
    all: Cells | None = Field(None, description="All of these values.")
    none: Cells | None = Field(None, description="None of these values; an item without a value passes.")
    within: Cells | None = Field(None, alias="in", description="As `any`: at least one of these values.")
    eq: Cell | None = Field(None, description="This value.")
    gte: Cell | None = Field(None, description="At least this: numbers by size, strings by code points.")
    lte: Cell | None = Field(None, description="At most this: numbers by size, strings by code points.")

    @property
    def values(self) -> int:
        """How many values there are in the lists."""
        return sum(len(values or ()) for values in (self.any, self.all, self.none, self.within))

    @model_validator(mode="after")
    def _at_least_one_clause(self) -> Self:
        if not self.model_fields_set or any(getattr(self, name) is None for name in self.model_fields_set):
            raise PydanticCustomError("no_clause", "must hold at least one of any, all, none, in, eq, gte, lte, none of them null")
        return self


def _within_value_limit(filters: dict[str, Clauses], info: ValidationInfo) -> dict[str, Clauses]:
    limit = info.context.max_list_ids if info.context else None
    if limit is not None and sum(clauses.values for clauses in filters.values()) > limit:
        raise PydanticCustomError("too_many_values", f"must hold at most {limit} values in all")
    return filters


Filter = Annotated[dict[str, Clauses], Field(max_length=MAX_FILTER_COLUMNS), AfterValidator(_within_value_limit)]


class SelectionOptions(Request):
    """Which items may be in an answer, and how many."""

    k: K = Field(10, description="How many items; more than the catalogue holds gives all of it. The limit is in `GET /model`.")
    exclude_item_ids: Ids = Field(default_factory=list, description="Items never in the answer.")
    candidate_item_ids: NonEmptyIds | None = Field(None, description="Rank these items alone.")
    filter: Filter = Field(
        default_factory=dict,
        description="Column -> clauses that its values must meet, all of them.",
        examples=[{"genres": {"any": ["Romance"]}, "year": {"gte": 1990}}],
    )

    @property
    def clauses(self) -> dict[str, dict[str, Any]]:
        """The filter as plain values: column -> operator -> value or list."""
        return {column: clauses.model_dump(exclude_unset=True, by_alias=True) for column, clauses in self.filter.items()}


class RecommendOptions(SelectionOptions):
    """What every way of recommending takes."""

    exclude_seen: bool = Field(False, description="Leave out the user's own interactions in the bundle.")
    diversity: Share = Field(
        0.0, description="0: the plain top-k. Up to 1: items less and less alike (maximal marginal relevance)."
    )
    include: Include = Field(default_factory=list, max_length=8, description="What to add to each item.")

    @property
    def costly_items(self) -> bool:
        """Whether each item costs more than its place in a list: it is made diverse, described or explained."""
        return bool(self.diversity or self.include)


class FallbackOptions(RecommendOptions):
    """Options where a user may be unknown."""

    fallback: Literal["popular"] | None = Field(
        None, description="`popular`: for a user whom the bundle doesn't know, the items with most interactions."
    )


class RecommendRequest(FallbackOptions):
    """One user's top-k over the catalogue, or over candidates."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": 42, "k": 10, "exclude_seen": True, "include": ["metadata"]}]}
    )

    user_id: UserId


class BatchRequest(FallbackOptions):
    """Many users' top-k, with the same options."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_ids": [42, 7], "k": 10}]})

    user_ids: NonEmptyIds = Field(
        description="Ids of the bundle; their number times `k` is at most `max_answer_items` of `GET /model`."
    )
    strict: bool = Field(False, description="An unknown user fails the whole request, rather than standing in `missing_user_ids`.")

    @model_validator(mode="after")
    def _answer_within_k_limit(self, info: ValidationInfo) -> Self:
        limit = info.context.max_answer_items if info.context else None
        items = 1 + (MAX_REASONS if "explanation" in self.include else 0)
        if limit is not None and len(self.user_ids) * self.k * items > limit:
            reasons = f" (times {items} with explanations)" if items > 1 else ""
            raise _field_error("user_ids", f"times k{reasons} must be at most {limit}; ask for fewer at a time")
        return self


class HistoryRequest(RecommendOptions):
    """The top-k of somebody without a row: by items liked and disliked, or by a vector."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"item_ids": [85, 2], "negative_item_ids": [17], "k": 10, "include": ["metadata"]}]}
    )

    item_ids: NonEmptyIds | None = Field(None, description="Items liked.")
    negative_item_ids: Ids = Field(default_factory=list, description="Items disliked.")
    weights: Numbers | None = Field(None, description="How much each of `item_ids` counts; above 0.")
    vector: Numbers | None = Field(None, description="The user's vector, `dim` numbers, in place of items.")
    exclude_seen: bool = Field(True, description="Leave out the items of the history itself, liked and disliked.")

    @model_validator(mode="after")
    def _one_of_items_or_vector(self) -> Self:
        if (self.item_ids is None) == (self.vector is None):
            raise PydanticCustomError("one_source", "give either item_ids or vector")
        if self.vector is not None and (self.weights is not None or self.negative_item_ids):
            raise _field_error("vector", "takes neither weights nor negative_item_ids beside it; they belong to item_ids")
        if self.weights is not None and self.item_ids is not None and len(self.weights) != len(self.item_ids):
            raise _field_error("weights", "must have as many numbers as item_ids has ids")
        if self.weights is not None and min(self.weights) <= 0:
            raise _field_error("weights", "must be above 0; what is disliked belongs into negative_item_ids")
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
    item_ids: NonEmptyIds = Field(description="The items to score.")


class ExplainRequest(Request):
    """Which of a user's own items carry the score of another."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": 42, "item_id": 85, "include": ["metadata"]}]})

    user_id: UserId
    item_id: ItemId
    k: K = Field(10, description="How many of the user's items.")
    include: list[Literal["metadata"]] = Field(default_factory=list, max_length=8, description="What to add to each item.")
