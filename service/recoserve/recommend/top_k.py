"""Converts requests for the k best items into queries in rows, and rankings back into external ids.

Requests that the model can't serve, and unknown ids where the request has no fallback for them, are refused here, before anything
runs.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.bundle.vocabulary import ExternalId, Vocabulary
from recoserve.errors import InvalidRequest
from recoserve.recommend.checks import NO_INTERACTIONS, refused, required_vectors
from recoserve.recommend.ids import id_error, known_rows, row_of, rows_of
from recoserve.recommend.requests import (
    BatchRequest,
    FallbackOptions,
    HistoryRequest,
    RecommendOptions,
    RecommendRequest,
    SelectionOptions,
    SimilarItemsRequest,
)
from recoserve.search.filters import filter_conditions
from recoserve.search.model import Model
from recoserve.search.query import NO_ROWS, AnyQuery, NeighbourQuery, Query, Ranking, isin_sorted
from recoserve.search.vectors import VectorTables

MAX_LENGTH = 1e18  # of a request's vector, and 1 / MAX_LENGTH the least, so that products are finite and not 0 in float32
MAX_CHEAP_ROWS = 100  # the most results, the most exclusions and the most candidates, each, of a cheap request


class RankedItems(NamedTuple):
    """Items with a score each, best first, and the model that ranked them."""

    model: Model
    rows: Rows
    ids: list[ExternalId]
    scores: Float32Array

    @classmethod
    def of_rows(cls, model: Model, rows: Rows, scores: Float32Array) -> Self:
        """Ranked items from their rows."""
        return cls(model, rows, model.bundle.items.external(rows.tolist()), scores)

    def metadata(self) -> list[dict[str, Any]]:
        """Each item's metadata, in the order of the items; empty objects where the bundle has none."""
        item_metadata = self.model.bundle.item_metadata
        return [{} if item_metadata is None else item_metadata[row] for row in self.rows.tolist()]


class Recommendation(NamedTuple):
    """What one user is recommended.

    `own_rows` are the items of the user, or of the history, that explanations are taken from; empty unless they are needed.
    `popular` says that the items are the most popular ones, since the user is unknown.
    """

    items: RankedItems
    own_rows: Rows
    popular: bool


class TopKWork(NamedTuple):
    """A request for the k best items in rows, ready to be submitted (`scheduling.batch.Work`)."""

    model: Model
    queries: tuple[AnyQuery]
    own_rows: Rows = NO_ROWS
    popular: bool = False
    cheap: bool = False

    def recommendation(self, ranking: Ranking) -> Recommendation:
        """The recommendation that a ranking comes to, with external ids."""
        return Recommendation(RankedItems.of_rows(self.model, ranking.item_rows, ranking.scores), self.own_rows, self.popular)


def for_user(model: Model, request: RecommendRequest) -> TopKWork:
    """Prepare the query for one user's best items. Raises InvalidRequest, IdOutOfRange or UnknownId with each field at fault."""
    users = model.bundle.users
    row = users.find(request.user_id)
    # The fallback is for unknown ids, not for ids of the wrong type.
    if row is None and not (request.fallback and isinstance(request.user_id, users.id_type)):
        raise id_error(users, [request.user_id], [0], "user_id", in_list=False)
    _require_interactions(model, request, unknown_user=row is None)
    return _for_row(model, row, request, _recommend_fields(model, request))


def for_users(model: Model, request: BatchRequest) -> list[Callable[[], TopKWork] | None]:
    """For each user id a function that prepares its query, or None if the user is unknown and the request has no fallback.

    A prepared query holds all excluded rows. Ten thousand at once would take too much memory, so they are prepared a slice at a
    time. Raises as `for_user`, but for unknown users only if the request is `strict` and has no fallback.
    """
    users = model.bundle.users
    fields = _recommend_fields(model, request)
    rows = known_rows(users, request.user_ids, "user_ids")
    unknown = [index for index, row in enumerate(rows) if row is None and request.fallback is None]
    if request.strict and unknown:
        raise id_error(users, request.user_ids, unknown, "user_ids")
    _require_interactions(model, request, unknown_user=request.fallback is not None and None in rows)
    return [None if row is None and request.fallback is None else partial(_for_row, model, row, request, fields) for row in rows]


def for_history(model: Model, request: HistoryRequest) -> TopKWork:
    """Prepare the query for a new user, described by items (a history) or by a vector.

    Raises InvalidRequest, IdOutOfRange or UnknownId with each field at fault.
    """
    vectors, items = required_vectors(model, "a history"), model.bundle.items
    if not model.accepts_vectors:
        raise InvalidRequest(
            "this model's bundle is of an older version, which can't rank for a history or a vector; export it again"
        )
    fields = _recommend_fields(model, request)
    if request.vector is not None:
        if "explanation" in request.include:
            raise refused("include", "a vector has no items that could explain anything; give item_ids")
        return TopKWork(model, (Query(None, vector=_query_vector(vectors, request.vector), **fields),))
    liked = rows_of(items, request.item_ids or (), "item_ids")
    disliked = rows_of(items, request.negative_item_ids, "negative_item_ids")
    weights = None if request.weights is None else np.array(request.weights)
    vector = vectors.history_vector(liked, weights, disliked)
    if vector is None:
        raise refused("item_ids", "the vectors of these items are zero, or add up to zero; give other items")
    if request.exclude_seen:
        fields["excluded"] = np.union1d(fields["excluded"], np.concatenate([liked, disliked]))
    return TopKWork(model, (Query(None, vector=vector, **fields),), np.unique(liked))


def for_item(model: Model, request: SimilarItemsRequest) -> TopKWork:
    """Prepare the query for the items most similar to a given one, by cosine.

    Raises InvalidRequest, IdOutOfRange or UnknownId with each field at fault.
    """
    vectors = required_vectors(model, "nearness")
    row, fields = row_of(model.bundle.items, request.item_id, "item_id"), _selection_fields(model, request)
    if not (vectors.unit and model.accepts_vectors):
        return TopKWork(model, (NeighbourQuery("item", row, **fields),))
    # The dot product of unit vectors is their cosine, so the exact search can be used; it is faster than computing every cosine.
    fields["excluded"] = _merged(fields["excluded"], np.array([row]))
    return TopKWork(model, (Query(None, vector=np.array(vectors.items.vectors[row]), **fields),))


def _for_row(model: Model, row: int | None, request: FallbackOptions, fields: dict[str, Any]) -> TopKWork:
    """Prepare the query for a known user, or for the most popular items if the user has no row."""
    if row is None:
        return TopKWork(model, (Query(None, **fields),), popular=True)
    own_rows, interactions = NO_ROWS, model.bundle.interactions
    if interactions is not None and (request.exclude_seen or "explanation" in request.include):
        own_rows = interactions.of(row)
    if request.exclude_seen:
        fields = {**fields, "excluded": _merged(fields["excluded"], own_rows)}
    query = Query(row, **fields)
    costly = request.diversity or query.conditions or "explanation" in request.include
    longest = max(request.k, len(query.excluded), len(request.candidate_item_ids or ()))
    return TopKWork(model, (query,), own_rows, cheap=not costly and longest <= MAX_CHEAP_ROWS)


def _require_interactions(model: Model, request: FallbackOptions, unknown_user: bool) -> None:
    """Raises InvalidRequest if the bundle has no interactions, and an explanation or the fallback for an unknown user needs them.

    `exclude_seen` isn't refused: without interactions nothing was seen.
    """
    if model.bundle.interactions is None:
        if "explanation" in request.include:
            raise refused("include", f"an explanation {NO_INTERACTIONS}")
        if unknown_user:
            raise refused("fallback", f"what is popular {NO_INTERACTIONS}")


def _recommend_fields(model: Model, request: RecommendOptions) -> dict[str, Any]:
    """The query's options, for any user. Raises InvalidRequest for options that the model doesn't support."""
    if request.diversity:
        required_vectors(model, "diversity", "diversity")
    if "explanation" in request.include:
        required_vectors(model, "an explanation", "include")
    fields = _selection_fields(model, request)
    fields["diversity"] = request.diversity
    return fields


def _selection_fields(model: Model, request: SelectionOptions) -> dict[str, Any]:
    """The query's options that say which items may be in the answer, and how many. Raises InvalidRequest, IdOutOfRange or
    UnknownId.
    """
    items, candidates = model.bundle.items, request.candidate_item_ids
    return {
        "k": request.k,
        "excluded": _distinct_rows(items, request.exclude_item_ids, "exclude_item_ids") if request.exclude_item_ids else NO_ROWS,
        "candidates": None if candidates is None else _distinct_rows(items, candidates, "candidate_item_ids"),
        "conditions": filter_conditions(model.bundle.columns, request.clauses) if request.filter else (),
    }


def _distinct_rows(vocabulary: Vocabulary, ids: Sequence[ExternalId], field: str) -> Rows:
    """The distinct rows of a list of ids, ascending."""
    return np.unique(rows_of(vocabulary, ids, field))


def _merged(rows: Rows, more_rows: Rows) -> Rows:
    """The distinct rows of both lists, ascending, as both lists are. Faster than `np.union1d`, which would sort them again."""
    new_rows = more_rows[~isin_sorted(more_rows, rows)]
    return np.insert(rows, np.searchsorted(rows, new_rows), new_rows) if len(new_rows) else rows


def _query_vector(vectors: VectorTables, numbers: Sequence[float]) -> Float32Array:
    """A request's vector as a query: float32 [d], at length 1 where the model's vectors are."""
    vector, width = np.array(numbers, np.float32), vectors.items.vectors.shape[1]
    if len(vector) != width:
        raise refused("vector", f"must have as many numbers as this model's vectors, {width}")
    length = np.linalg.norm(vector.astype(np.float64))
    if not length:
        raise refused("vector", "must have a direction; all its numbers are zero, or too small for float32")
    if vectors.unit:
        return (vector / length).astype(np.float32)
    if not 1 / MAX_LENGTH <= length <= MAX_LENGTH:
        raise refused("vector", f"must have a length in [{1 / MAX_LENGTH:g}, {MAX_LENGTH:g}], so that float32 can hold its scores")
    return vector
