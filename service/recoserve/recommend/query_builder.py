"""Requests in ids to queries in rows; whatever a model can't do is refused here, before anything runs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.bundle.vocabulary import ExternalId, Vocabulary
from recoserve.errors import FieldError, InvalidRequest
from recoserve.recommend.ids import fault, known_rows, row_of, rows_of
from recoserve.recommend.wanted import (
    Choice,
    Explaining,
    NearItem,
    NearUser,
    OfHistory,
    OfUser,
    OfUsers,
    Options,
    Scoring,
    WithFallback,
)
from recoserve.search.filters import conditions
from recoserve.search.model import Model
from recoserve.search.query import NO_ROWS, AnyQuery, NeighbourQuery, Query, among
from recoserve.search.vectors import Vectors

LONGEST = 1e18  # vector whose products with such others are finite
NO_INTERACTIONS = "needs interactions, and this model's bundle has none; export it again with --interactions"


class Question(NamedTuple):
    """A query, the asker's own items (rows, ascending), and whether the asker is unknown and gets what is popular."""

    query: AnyQuery
    own: Rows = NO_ROWS
    popular: bool = False


def of_user(model: Model, wanted: OfUser) -> Question:
    """Raises InvalidRequest, IdOutOfRange or UnknownId with each field at fault."""
    users = model.bundle.users
    row = users.find(wanted.user_id)
    if row is None and not (wanted.fallback and isinstance(wanted.user_id, users.id_type)):
        raise fault(users, [wanted.user_id], [0], "user_id", alone=True)
    _need_interactions(model, wanted, stranger=row is None)
    return _of_row(model, row, wanted, _options(model, wanted))


def of_users(model: Model, wanted: OfUsers) -> list[Callable[[], Question] | None]:
    """What gives each id's question, None for an unknown user; raises as `of_user`, for unknown users where that is `strict`.

    A question holds all that it excludes: of many users it is made when its turn comes.
    """
    users = model.bundle.users
    options = _options(model, wanted)
    rows = known_rows(users, wanted.user_ids, "user_ids")
    known = [row is not None or wanted.fallback is not None for row in rows]
    if wanted.strict and not all(known):
        raise fault(users, wanted.user_ids, [place for place, good in enumerate(known) if not good], "user_ids")
    _need_interactions(model, wanted, stranger=bool(wanted.fallback) and None in rows)
    return [partial(_of_row, model, row, wanted, options) if good else None for row, good in zip(rows, known, strict=True)]


def of_history(model: Model, wanted: OfHistory) -> Question:
    """Raises InvalidRequest, IdOutOfRange or UnknownId with each field at fault."""
    vectors, items = _vectors(model, "a history"), model.bundle.items
    if not model.takes_queries:
        raise InvalidRequest("this model's bundle was made before vectors could be asked about; export it again")
    options = _options(model, wanted)
    if wanted.vector is not None:
        if "explanation" in wanted.include:
            raise _refused("include", "a vector has no items that could explain anything; give item_ids")
        return Question(Query(None, vector=_given(vectors, wanted.vector), **options))
    liked = rows_of(items, wanted.item_ids or (), "item_ids")
    disliked = rows_of(items, wanted.negative_item_ids, "negative_item_ids")
    weights = None if wanted.weights is None else np.array(wanted.weights)
    found = vectors.of_history(liked, weights, disliked)
    if found is None:
        raise _refused("item_ids", "these items have no direction, or cancel each other out; give others")
    if wanted.exclude_seen:
        options["excluded"] = np.union1d(options["excluded"], np.concatenate([liked, disliked]))
    return Question(Query(None, vector=found, **options), np.unique(liked))


def near_item(model: Model, wanted: NearItem) -> Question:
    """Raises InvalidRequest, IdOutOfRange or UnknownId with each field at fault."""
    vectors = _vectors(model, "nearness")
    row, choice = row_of(model.bundle.items, wanted.item_id, "item_id"), _choice(model, wanted)
    if not (vectors.unit and model.takes_queries):
        return Question(NeighbourQuery("item", row, **choice))
    choice["excluded"] = _joined(choice["excluded"], np.array([row]))
    # a product of unit vectors is their cosine, and searched for faster
    return Question(Query(None, vector=np.array(vectors.items.rows[row]), **choice))


def near_user(model: Model, wanted: NearUser) -> Question:
    """Raises InvalidRequest, IdOutOfRange or UnknownId."""
    _vectors(model, "nearness")
    return Question(NeighbourQuery("user", row_of(model.bundle.users, wanted.user_id, "user_id"), wanted.k))


def of_items(model: Model, wanted: Scoring) -> tuple[Question, list[int | None]]:
    """A question for the scores of the known items, and the row of each item asked for, None for one that the bundle lacks."""
    user_row = row_of(model.bundle.users, wanted.user_id, "user_id")
    rows = known_rows(model.bundle.items, wanted.item_ids, "item_ids")
    known = np.unique(np.array([row for row in rows if row is not None], np.int64))
    return Question(Query(user_row, max(len(known), 1), candidates=known)), rows


def explained(model: Model, wanted: Explaining) -> tuple[Question, int]:
    """A question for the score, with the user's own items, and the item's row."""
    _vectors(model, "an explanation")
    if not model.bundle.interactions:
        raise InvalidRequest(f"an explanation {NO_INTERACTIONS}")
    user_row = row_of(model.bundle.users, wanted.user_id, "user_id")
    item_row = row_of(model.bundle.items, wanted.item_id, "item_id")
    return Question(Query(user_row, 1, candidates=np.array([item_row])), model.bundle.interactions.of(user_row)), item_row


def _of_row(model: Model, row: int | None, wanted: WithFallback, options: dict[str, Any]) -> Question:
    """A known user's question, or that of somebody who gets what is popular."""
    if row is None:
        return Question(Query(None, **options), popular=True)
    seen = model.bundle.interactions
    own = seen.of(row) if seen and (wanted.exclude_seen or "explanation" in wanted.include) else NO_ROWS
    if wanted.exclude_seen:
        options = {**options, "excluded": _joined(options["excluded"], own)}
    return Question(Query(row, **options), own)


def _need_interactions(model: Model, wanted: WithFallback, stranger: bool) -> None:
    """Raises InvalidRequest where the bundle has none, and they are what an answer is made of."""
    if "explanation" in wanted.include and not model.bundle.interactions:
        raise _refused("include", f"an explanation {NO_INTERACTIONS}")
    if stranger and not model.bundle.interactions:
        raise _refused("fallback", f"what is popular {NO_INTERACTIONS}")


def _joined(rows: Rows, more: Rows) -> Rows:
    """Both, distinct and ascending as each is."""
    new = more[~among(more, rows)]
    return np.insert(rows, np.searchsorted(rows, new), new) if len(new) else rows


def _options(model: Model, wanted: Options) -> dict[str, Any]:
    """What a query takes beside who asks."""
    if wanted.diversity:
        _vectors(model, "diversity", "diversity")
    if "explanation" in wanted.include:
        _vectors(model, "an explanation", "include")
    options = _choice(model, wanted)
    options["diversity"] = wanted.diversity
    return options


def _choice(model: Model, wanted: Choice) -> dict[str, Any]:
    """Which items may be in the answer, and how many."""
    items, candidates = model.bundle.items, wanted.candidate_item_ids
    return {
        "k": wanted.k,
        "excluded": _distinct(items, wanted.exclude_item_ids, "exclude_item_ids"),
        "candidates": None if candidates is None else _distinct(items, candidates, "candidate_item_ids"),
        "conditions": conditions(model.bundle.columns, wanted.conditions),
    }


def _distinct(vocabulary: Vocabulary, ids: Sequence[ExternalId], field: str) -> Rows:
    return np.unique(rows_of(vocabulary, ids, field)) if ids else NO_ROWS


def _given(vectors: Vectors, numbers: Sequence[float]) -> Float32Array:
    """A vector as a query: float32 [d], at length 1 where all are."""
    vector, width = np.array(numbers, np.float32), vectors.items.rows.shape[1]
    if len(vector) != width:
        raise _refused("vector", f"must have as many numbers as this model's vectors, {width}")
    length = np.linalg.norm(vector.astype(np.float64))
    if not length:
        raise _refused("vector", "must have a direction; all its numbers are zero, or too small for float32")
    if vectors.unit:
        return (vector / length).astype(np.float32)
    if not 1 / LONGEST <= length <= LONGEST:
        raise _refused("vector", f"must have a length in [{1 / LONGEST:g}, {LONGEST:g}], so that float32 can hold its scores")
    return vector


def _vectors(model: Model, what: str, field: str | None = None) -> Vectors:
    if model.vectors is None:
        reason = f"{what} needs item vectors, and this model has none: its score is more than one dot product"
        raise _refused(field, reason) if field else InvalidRequest(reason)
    return model.vectors


def _refused(field: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {reason}", [FieldError((field,), reason)])
