"""Builds the calls that a client sends: a function for each endpoint takes the endpoint's fields and returns an `ApiCall`.

Fields have the names that they have in JSON. A field that is None is not sent, so that the service's own default holds. Any
iterable can be a list, NumPy arrays and sets included.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeAlias, TypedDict, TypeVar

import orjson

from recoserve.client.errors import ClientError, ConnectionFailed, NotReady, Overloaded
from recoserve.client.responses import HttpResponse, ResponseModel, parse_response, require_success
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
# The conditions on one column of item metadata. Not a class, since `in` can't be the name of an attribute.
ColumnFilter = TypedDict(
    "ColumnFilter",
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
Filter: TypeAlias = Mapping[str, ColumnFilter]

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

Parsed = TypeVar("Parsed")  # what a call's response is parsed into


@dataclass(frozen=True)
class ApiCall(Generic[Parsed]):
    """A request, the function that parses its response, and the errors after which it is sent again.

    `body`: JSON, or None for a GET. `timeout`: seconds, or None for the client's. Raises ValueError for a request id that the
    service would replace.
    """

    path: str
    parse: Callable[[HttpResponse], Parsed]
    body: bytes | None = None
    query: Mapping[str, str] | None = None
    timeout: float | None = None
    request_id: str | None = None
    # After a cut connection nobody knows whether the service has run the request. A second run does no harm: all endpoints only
    # read.
    retried_errors: tuple[type[ClientError], ...] = (Overloaded, NotReady, ConnectionFailed)

    def __post_init__(self) -> None:
        # The service replaces an id of any other form by one of its own: the caller would look for theirs in vain.
        if self.request_id is not None and not REQUEST_ID.fullmatch(self.request_id):
            raise ValueError("request_id must be 1 to 128 characters of A-Za-z0-9._-")

    @property
    def headers(self) -> dict[str, str]:
        """The headers of this call, without those that the client sends with every call."""
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
) -> ApiCall[RecommendResponse]:
    """Recommend items to a user: `POST /recommend`.

    Parameters
    ----------
    user_id : int or str
    k : int, optional
        How many items; 10 by default.
    exclude_item_ids : iterable of int or str, optional
        Items that are not recommended.
    exclude_seen : bool, optional
        Leave out the user's own interactions.
    candidate_item_ids : iterable of int or str, optional
        Rank these items alone.
    filter : mapping of str to ColumnFilter, optional
        Conditions on the items' metadata: ``{"genres": {"any": ["Comedy"]}, "year": {"gte": 1990}}``.
    diversity : float, optional
        From 0, the plain top k, to 1: items less and less alike.
    include : iterable of str, optional
        ``"metadata"`` and ``"explanation"``, to be added to each item.
    fallback : str, optional
        ``"popular"``: recommend the most popular items to a user that the bundle doesn't know. Without it, such a user is an error.
    model : str, optional
        Which of the service's models to use; by default the service's default model.
    timeout : float, optional
        Seconds for this call, retries and pauses included, instead of the client's.
    request_id : str, optional
        1 to 128 characters of A-Za-z0-9._-, to find the request in the service's log and in errors.

    Returns
    -------
    RecommendResponse
        ``items``, best first, each with ``item_id`` and ``score``; fewer than ``k`` where no more are left.
    """
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
) -> ApiCall[BatchResponse]:
    """Recommend items to many users in one call: `POST /recommend/batch`.

    Parameters
    ----------
    user_ids : iterable of int or str
    k, exclude_item_ids, exclude_seen, candidate_item_ids, filter, diversity, include, fallback : optional
        The options of `recommend`, for every user.
    strict : bool, optional
        Whether an unknown user fails the call, instead of being listed in ``missing_user_ids``.
    model : str, optional
        Which of the service's models to use; by default the service's default model.
    timeout : float, optional
        Seconds for this call, retries and pauses included, instead of the client's.
    request_id : str, optional
        1 to 128 characters of A-Za-z0-9._-, to find the request in the service's log and in errors.

    Returns
    -------
    BatchResponse
        ``results``, one for each known user in the order of ``user_ids``, each with ``user_id`` and ``items``, best first;
        ``missing_user_ids``.
    """
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
) -> ApiCall[HistoryResponse]:
    """Recommend items to somebody whom the model wasn't trained on: `POST /recommend/history`.

    Give either ``item_ids`` or ``vector``. ``negative_item_ids`` and ``weights`` go with ``item_ids`` only.

    Parameters
    ----------
    item_ids, negative_item_ids : iterable of int or str, optional
        Items that the person liked and disliked.
    weights : iterable of float, optional
        How much each of ``item_ids`` counts, above 0; all the same by default.
    vector : iterable of float, optional
        The person's vector, of the model's dimension.
    exclude_seen : bool, optional
        Leave out the items of the history; True by default.
    k, exclude_item_ids, candidate_item_ids, filter, diversity, include : optional
        The options of `recommend`.
    model : str, optional
        Which of the service's models to use; by default the service's default model.
    timeout : float, optional
        Seconds for this call, retries and pauses included, instead of the client's.
    request_id : str, optional
        1 to 128 characters of A-Za-z0-9._-, to find the request in the service's log and in errors.

    Returns
    -------
    HistoryResponse
        ``items``, best first, each with ``item_id`` and ``score``.
    """
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
) -> ApiCall[SimilarItemsResponse]:
    """Find the items of largest cosine to an item: `POST /similar/items`.

    Parameters
    ----------
    item_id : int or str
    k, exclude_item_ids, candidate_item_ids, filter, include : optional
        The options of `recommend`.
    model : str, optional
        Which of the service's models to use; by default the service's default model.
    timeout : float, optional
        Seconds for this call, retries and pauses included, instead of the client's.
    request_id : str, optional
        1 to 128 characters of A-Za-z0-9._-, to find the request in the service's log and in errors.

    Returns
    -------
    SimilarItemsResponse
        ``items``, nearest first and without the item itself, each with ``item_id`` and ``score``, the cosine.
    """
    return _post("/similar/items", SimilarItemsResponse, **locals())


def similar_users(
    user_id: Id, *, k: int | None = None, model: str | None = None, timeout: float | None = None, request_id: str | None = None
) -> ApiCall[SimilarUsersResponse]:
    """Find the users of largest cosine to a user: `POST /similar/users`.

    Parameters
    ----------
    user_id : int or str
    k : int, optional
        How many users; 10 by default.
    model : str, optional
        Which of the service's models to use; by default the service's default model.
    timeout : float, optional
        Seconds for this call, retries and pauses included, instead of the client's.
    request_id : str, optional
        1 to 128 characters of A-Za-z0-9._-, to find the request in the service's log and in errors.

    Returns
    -------
    SimilarUsersResponse
        ``users``, nearest first and without the user itself, each with ``user_id`` and ``score``, the cosine.
    """
    return _post("/similar/users", SimilarUsersResponse, **locals())


def score(
    user_id: Id, item_ids: Ids, *, model: str | None = None, timeout: float | None = None, request_id: str | None = None
) -> ApiCall[ScoreResponse]:
    """Score items for a user: `POST /score`.

    Parameters
    ----------
    user_id : int or str
    item_ids : iterable of int or str
    model : str, optional
        Which of the service's models to use; by default the service's default model.
    timeout : float, optional
        Seconds for this call, retries and pauses included, instead of the client's.
    request_id : str, optional
        1 to 128 characters of A-Za-z0-9._-, to find the request in the service's log and in errors.

    Returns
    -------
    ScoreResponse
        ``items`` in the order of ``item_ids``, each with ``item_id`` and ``score``; ``missing_item_ids``, unknown to the bundle.
    """
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
) -> ApiCall[ExplainResponse]:
    """Explain an item's score by the items that the user has interacted with: `POST /explain`.

    Parameters
    ----------
    user_id, item_id : int or str
    k : int, optional
        How many of the user's items.
    include : iterable of str, optional
        ``"metadata"``, to be added to each item.
    model : str, optional
        Which of the service's models to use; by default the service's default model.
    timeout : float, optional
        Seconds for this call, retries and pauses included, instead of the client's.
    request_id : str, optional
        1 to 128 characters of A-Za-z0-9._-, to find the request in the service's log and in errors.

    Returns
    -------
    ExplainResponse
        ``score``; ``items``, those of the user that are most like the item, each with ``item_id``, ``cosine`` and ``share``, its
        part of the sum of all positive cosines.
    """
    return _post("/explain", ExplainResponse, **locals())


def model(model: str | None = None, *, timeout: float | None = None, request_id: str | None = None) -> ApiCall[ModelDescription]:
    """Describe a model and the service's limits: `GET /model`.

    Parameters
    ----------
    model : str, optional
        Which of the service's models to use; by default the service's default model.
    timeout : float, optional
        Seconds for this call, retries and pauses included, instead of the client's.
    request_id : str, optional
        1 to 128 characters of A-Za-z0-9._-, to find the request in the service's log and in errors.

    Returns
    -------
    ModelDescription
        Name, version, ids, dimension, metrics and limits of this model, and the names of all models.
    """
    query = None if model is None else {"model": model}
    return ApiCall("/model", partial(parse_response, model=ModelDescription), None, query, timeout, request_id)


def health(*, timeout: float | None = None, request_id: str | None = None) -> ApiCall[Health]:
    """Ask for the state of the service; raises NotReady unless it is ready: `GET /health`.

    Parameters
    ----------
    timeout : float, optional
        Seconds for this call, retries and pauses included, instead of the client's.
    request_id : str, optional
        1 to 128 characters of A-Za-z0-9._-, to find the request in the service's log and in errors.

    Returns
    -------
    Health
        ``status``, which is ``"ready"``, and the default ``model``.

    Raises
    ------
    NotReady
        The service would not answer a request now. Raised at once, without another attempt: a probe asks for the present state.
    """
    parse = partial(parse_response, model=Health)
    return ApiCall("/health", parse, timeout=timeout, request_id=request_id, retried_errors=(ConnectionFailed,))


def ready(*, timeout: float | None = None, request_id: str | None = None) -> ApiCall[bool]:
    """Ask whether the service would answer a request now: `GET /readyz`.

    Parameters
    ----------
    timeout : float, optional
        Seconds for this call, retries and pauses included, instead of the client's.
    request_id : str, optional
        1 to 128 characters of A-Za-z0-9._-, to find the request in the service's log and in errors.

    Returns
    -------
    bool

    Raises
    ------
    ConnectionFailed
        The service can't be reached, so whether it is ready is unknown.
    """
    return ApiCall("/readyz", _readiness, timeout=timeout, request_id=request_id)


def _readiness(response: HttpResponse) -> bool:
    try:
        require_success(response)
    except NotReady:
        return False
    return True


def _post(
    path: str, response_model: type[ResponseModel], timeout: float | None, request_id: str | None, **fields: Any
) -> ApiCall[ResponseModel]:
    """The call of an endpoint that takes `fields` as a JSON object; raises TypeError for a value that JSON can't express."""
    sent = {name: value for name, value in fields.items() if value is not None}
    body = orjson.dumps(sent, default=list, option=orjson.OPT_SERIALIZE_NUMPY)
    return ApiCall(path, partial(parse_response, model=response_model), body, None, timeout, request_id)
