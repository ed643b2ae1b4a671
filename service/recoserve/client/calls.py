"""What each endpoint takes: its fields by their names on the wire. What is None is left out, and the service's default holds.

Lists may be any iterable, NumPy arrays and sets included. `timeout`: seconds for this call, in place of the client's.
`request_id`: 1 to 128 characters of A-Za-z0-9._-, found again in the service's log and in errors.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeAlias, TypedDict, TypeVar

import orjson
from pydantic import BaseModel

from recoserve.client.errors import ClientError, ConnectionFailed, NotReady, Overloaded
from recoserve.client.reply import Reply, require_success, understood
from recoserve.web.schemas import (
    BatchResponse,
    ExplainResponse,
    Health,
    HistoryResponse,
    ModelDescription,
    RecommendResponse,
    ScoreResponse,
    SimilarItemsResponse,
    SimilarUsersResponse,
)

Id: TypeAlias = int | str
Ids: TypeAlias = Iterable[int | str]
Cell: TypeAlias = str | int | float | bool
Clauses = TypedDict(
    "Clauses",
    {
        "any": Iterable[Cell],
        "all": Iterable[Cell],
        "none": Iterable[Cell],
        "in": Iterable[Cell],
        "eq": Cell,
        "gte": Cell,
        "lte": Cell,
    },
    total=False,
)
Filter: TypeAlias = Mapping[str, Clauses]

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

Answer = TypeVar("Answer")
Schema = TypeVar("Schema", bound=BaseModel)


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One request and how its reply is read; `body` None is a GET. Raises ValueError for a request id that none could be."""

    path: str
    read: Callable[[Reply], Answer]
    body: bytes | None = None
    query: Mapping[str, str] | None = None
    timeout: float | None = None
    request_id: str | None = None
    retried: tuple[type[ClientError], ...] = (Overloaded, NotReady, ConnectionFailed)

    def __post_init__(self) -> None:
        if self.request_id is not None and not REQUEST_ID.fullmatch(self.request_id):
            raise ValueError("request_id must be 1 to 128 characters of A-Za-z0-9._-")

    @property
    def headers(self) -> dict[str, str]:
        """Those of this call alone."""
        content = {} if self.body is None else {"Content-Type": "application/json"}
        return content if self.request_id is None else {**content, "X-Request-ID": self.request_id}


def recommend(
    user_id: Id,
    *,
    k: int | None = None,
    exclude_item_ids: Ids | None = None,
    exclude_seen: bool | None = None,
    candidate_item_ids: Ids | None = None,
    filter: Filter | None = None,
    diversity: float | None = None,
    include: Iterable[Literal["metadata", "explanation"]] | None = None,
    fallback: Literal["popular"] | None = None,
    model: str | None = None,
    timeout: float | None = None,
    request_id: str | None = None,
) -> Call[RecommendResponse]:
    """One user's items, best first: `POST /recommend`."""
    return _post("/recommend", RecommendResponse, **locals())


def recommend_batch(
    user_ids: Ids,
    *,
    k: int | None = None,
    exclude_item_ids: Ids | None = None,
    exclude_seen: bool | None = None,
    candidate_item_ids: Ids | None = None,
    filter: Filter | None = None,
    diversity: float | None = None,
    include: Iterable[Literal["metadata", "explanation"]] | None = None,
    fallback: Literal["popular"] | None = None,
    strict: bool | None = None,
    model: str | None = None,
    timeout: float | None = None,
    request_id: str | None = None,
) -> Call[BatchResponse]:
    """Many users' items in one call, in the order asked; unknown users in `missing_user_ids`: `POST /recommend/batch`."""
    return _post("/recommend/batch", BatchResponse, **locals())


def recommend_history(
    item_ids: Ids | None = None,
    *,
    negative_item_ids: Ids | None = None,
    weights: Iterable[float] | None = None,
    vector: Iterable[float] | None = None,
    k: int | None = None,
    exclude_item_ids: Ids | None = None,
    exclude_seen: bool | None = None,
    candidate_item_ids: Ids | None = None,
    filter: Filter | None = None,
    diversity: float | None = None,
    include: Iterable[Literal["metadata", "explanation"]] | None = None,
    model: str | None = None,
    timeout: float | None = None,
    request_id: str | None = None,
) -> Call[HistoryResponse]:
    """The items of somebody without a row, from items liked and disliked or from a vector: `POST /recommend/history`."""
    return _post("/recommend/history", HistoryResponse, **locals())


def similar_items(
    item_id: Id,
    *,
    k: int | None = None,
    exclude_item_ids: Ids | None = None,
    candidate_item_ids: Ids | None = None,
    filter: Filter | None = None,
    include: Iterable[Literal["metadata"]] | None = None,
    model: str | None = None,
    timeout: float | None = None,
    request_id: str | None = None,
) -> Call[SimilarItemsResponse]:
    """The items nearest to one of them by cosine, itself left out: `POST /similar/items`."""
    return _post("/similar/items", SimilarItemsResponse, **locals())


def similar_users(
    user_id: Id, *, k: int | None = None, model: str | None = None, timeout: float | None = None, request_id: str | None = None
) -> Call[SimilarUsersResponse]:
    """The users nearest to one of them by cosine, itself left out: `POST /similar/users`."""
    return _post("/similar/users", SimilarUsersResponse, **locals())


def score(
    user_id: Id, item_ids: Ids, *, model: str | None = None, timeout: float | None = None, request_id: str | None = None
) -> Call[ScoreResponse]:
    """One user's score of each item, in the order asked; unknown items in `missing_item_ids`: `POST /score`."""
    return _post("/score", ScoreResponse, **locals())


def explain(
    user_id: Id,
    item_id: Id,
    *,
    k: int | None = None,
    include: Iterable[Literal["metadata"]] | None = None,
    model: str | None = None,
    timeout: float | None = None,
    request_id: str | None = None,
) -> Call[ExplainResponse]:
    """A score, and the user's own items that carry it: `POST /explain`."""
    return _post("/explain", ExplainResponse, **locals())


def model(model: str | None = None, *, timeout: float | None = None, request_id: str | None = None) -> Call[ModelDescription]:
    """The default model or the one named, its ids, limits and measures, and the names of all: `GET /model`."""
    query = None if model is None else {"model": model}
    return Call("/model", partial(understood, schema=ModelDescription), None, query, timeout, request_id)


def health(*, timeout: float | None = None, request_id: str | None = None) -> Call[Health]:
    """The state of a service that would answer now: `GET /health`. Raises NotReady at once, without another try."""
    read = partial(understood, schema=Health)
    return Call("/health", read, timeout=timeout, request_id=request_id, retried=(ConnectionFailed,))


def ready(*, timeout: float | None = None, request_id: str | None = None) -> Call[bool]:
    """Whether the service would answer now: `GET /readyz`. One that can't be reached is ConnectionFailed, not False."""
    return Call("/readyz", _readiness, timeout=timeout, request_id=request_id)


def _readiness(reply: Reply) -> bool:
    try:
        require_success(reply)
    except NotReady:
        return False
    return True


def _post(path: str, answer: type[Schema], timeout: float | None, request_id: str | None, **fields: Any) -> Call[Schema]:
    """An endpoint's parameters, but for these two, are its fields; raises TypeError for what JSON has no form for."""
    given = {name: value for name, value in fields.items() if value is not None}
    body = orjson.dumps(given, default=list, option=orjson.OPT_SERIALIZE_NUMPY)
    return Call(path, partial(understood, schema=answer), body, None, timeout, request_id)
