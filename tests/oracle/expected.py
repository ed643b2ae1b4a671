"""The expected response to a request, by brute force in float64 over all items. It shares no code with the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float64Array, Rows
from tests.oracle.filters import passing_rows
from tests.oracle.world import ERROR, EmbeddingTables, Id, World

LISTED_REASONS = 5  # of each item of a ranking; /explain gives k
NO_ROWS: Rows = np.empty(0, np.int64)


@dataclass(frozen=True)
class Reasons:
    """An explanation: the `k` of the user's `interactions`, the item itself aside, whose vectors have the largest cosine to it."""

    interactions: Rows
    k: int


@dataclass(frozen=True)
class Ranking:
    """A list of items or users: the best k of `rows` by `scores`, float64 [N], from which the service's may differ by `error`.

    With `diversity` above 0 the items are chosen one after another. `finer`: the model ranks by something finer than the scores
    that it returns, such as the input of a sigmoid; otherwise equal scores come in row order.
    """

    scores: Float64Array
    rows: Rows
    k: int
    error: float
    diversity: float = 0.0
    metadata: bool = False
    reasons: Reasons | None = None
    finer: bool = False


@dataclass(frozen=True)
class Expected:
    """A response: the `members` that must be equal, and beside them a ranking, results of several users, scores or reasons."""

    members: Mapping[str, Any]
    ranking: Ranking | None = None
    results: tuple["Expected", ...] = ()
    scored: tuple[tuple[Id, float], ...] = ()
    error: float = ERROR
    reasons: tuple[int, Reasons] | None = None  # an item's row, and why
    metadata: bool = False


def expected_response(world: World, endpoint: str, body: Mapping[str, Any]) -> Expected:
    """The response to a request without a fault."""
    expected = ENDPOINTS[endpoint](world, body)
    return replace(expected, members={**expected.members, "model": {"name": world.name, "version": "1"}})


def _recommend(world: World, body: Mapping[str, Any]) -> Expected:
    return _of_user(world, body["user_id"], body, _allowed(world, body))


def _batch(world: World, body: Mapping[str, Any]) -> Expected:
    fallback = body.get("fallback") == "popular"
    ranked = [user_id for user_id in body["user_ids"] if fallback or user_id in world.user_row]
    missing = [user_id for user_id in body["user_ids"] if not fallback and user_id not in world.user_row]
    allowed = _allowed(world, body)
    results = tuple(_of_user(world, user_id, body, allowed) for user_id in ranked)
    return Expected({"missing_user_ids": missing}, results=results)


def _of_user(world: World, user_id: Id, body: Mapping[str, Any], allowed: NDArray[np.bool_]) -> Expected:
    user = world.user_row.get(user_id)
    if user is None:
        popular = Ranking(world.popularity, NO_ROWS, 0, 0.0)
        ranking = _with_options(world, popular, body, allowed, interactions=NO_ROWS, hidden=NO_ROWS)
        return Expected({"user_id": user_id, "fallback": "popular"}, ranking)
    seen = world.seen[user]
    hidden = seen if body.get("exclude_seen") else NO_ROWS
    ranking = Ranking(world.scores(user), NO_ROWS, 0, world.error(user), finer=world.tables is None)
    return Expected({"user_id": user_id}, _with_options(world, ranking, body, allowed, seen, hidden))


def _history(world: World, body: Mapping[str, Any]) -> Expected:
    assert world.tables is not None
    liked = rows_of(world, body.get("item_ids") or [])
    disliked = rows_of(world, body.get("negative_item_ids") or [])
    if "vector" in body:
        query, error_factor = np.array(body["vector"], np.float64), 1.0
    else:
        query, error_factor = _history_query(world.tables, liked, disliked, body.get("weights"))
    hidden = np.union1d(liked, disliked) if body.get("exclude_seen", True) else NO_ROWS
    ranking = Ranking(world.tables.scores(query), NO_ROWS, 0, error_factor * world.tables.error(query))
    return Expected({}, _with_options(world, ranking, body, _allowed(world, body), np.unique(liked), hidden))


def direction(tables: EmbeddingTables, liked: Rows, disliked: Rows, weights: Sequence[float] | None) -> Float64Array:
    """Twice the weighted mean of the liked vectors less the mean of the disliked; without these the weighted mean; [d]."""
    vectors = tables.unit_items if tables.cosine else tables.items
    shares = np.array(weights or [1.0] * len(liked), np.float64)
    shares /= shares.max()
    mean: Float64Array = shares @ vectors[liked] / shares.sum()
    return 2 * mean - vectors[disliked].mean(0) if len(disliked) else mean


def _history_query(
    tables: EmbeddingTables, liked: Rows, disliked: Rows, weights: Sequence[float] | None
) -> tuple[Float64Array, float]:
    """The query of a history, and how many times as large as a table vector's its float32 error may be: vectors may cancel out."""
    vectors = tables.unit_items if tables.cosine else tables.items
    sum_of_vectors = direction(tables, liked, disliked, weights)
    error_factor = 1 + 3 * np.linalg.norm(vectors[np.concatenate([liked, disliked])], axis=1).max() / np.linalg.norm(sum_of_vectors)
    if tables.cosine:
        return sum_of_vectors / np.linalg.norm(sum_of_vectors), error_factor
    # Columns that are the same for every user, such as the 1 beside a bias, are not the history's to change.
    fixed = (tables.users == tables.users[0]).all(0)
    length = np.sqrt((tables.users[:, ~fixed] ** 2).sum(1).mean())
    return np.where(fixed, tables.users[0], sum_of_vectors / np.linalg.norm(sum_of_vectors[~fixed]) * length), error_factor


def _similar_items(world: World, body: Mapping[str, Any]) -> Expected:
    assert world.tables is not None
    item = world.item_row[body["item_id"]]
    ranking = Ranking(world.tables.unit_items @ world.tables.unit_items[item], NO_ROWS, 0, ERROR)
    hidden = np.array([item], np.int64)
    return Expected({"item_id": body["item_id"]}, _with_options(world, ranking, body, _allowed(world, body), NO_ROWS, hidden))


def _similar_users(world: World, body: Mapping[str, Any]) -> Expected:
    assert world.tables is not None
    user = world.user_row[body["user_id"]]
    others = np.delete(np.arange(len(world.user_ids)), user)
    ranking = Ranking(world.tables.unit_users @ world.tables.unit_users[user], others, body.get("k", 10), ERROR)
    return Expected({"user_id": body["user_id"]}, ranking)


def _score(world: World, body: Mapping[str, Any]) -> Expected:
    user = world.user_row[body["user_id"]]
    scores, known = world.scores(user), world.item_row
    scored = tuple((item_id, float(scores[known[item_id]])) for item_id in body["item_ids"] if item_id in known)
    missing = [item_id for item_id in body["item_ids"] if item_id not in known]
    return Expected({"user_id": body["user_id"], "missing_item_ids": missing}, scored=scored, error=world.error(user))


def _explain(world: World, body: Mapping[str, Any]) -> Expected:
    user, item = world.user_row[body["user_id"]], world.item_row[body["item_id"]]
    return Expected(
        {"user_id": body["user_id"], "item_id": body["item_id"]},
        scored=((body["item_id"], float(world.scores(user)[item])),),
        error=world.error(user),
        reasons=(item, Reasons(world.seen[user], body.get("k", 10))),
        metadata="metadata" in body.get("include", []),
    )


def _allowed(world: World, body: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Which items a request allows, bool [N], before those that the user has seen are excluded."""
    allowed = np.zeros(len(world.item_ids), bool)
    allowed[passing_rows(world, body.get("filter", {}))] = True
    if body.get("candidate_item_ids") is not None:
        candidates = np.zeros_like(allowed)
        candidates[rows_of(world, body["candidate_item_ids"])] = True
        allowed &= candidates
    allowed[rows_of(world, body.get("exclude_item_ids", []))] = False
    return allowed


def _with_options(
    world: World, ranking: Ranking, body: Mapping[str, Any], allowed: NDArray[np.bool_], interactions: Rows, hidden: Rows
) -> Ranking:
    """The ranking under the request's options; `interactions` are the items that explain, `hidden` those to exclude as well."""
    include = body.get("include", [])
    remaining = allowed.copy()
    remaining[hidden] = False
    return replace(
        ranking,
        rows=np.flatnonzero(remaining),
        k=body.get("k", 10),
        diversity=float(body.get("diversity", 0)),
        metadata="metadata" in include,
        reasons=Reasons(interactions, LISTED_REASONS) if "explanation" in include else None,
    )


def rows_of(world: World, ids: Sequence[Id]) -> Rows:
    """The rows of known items, in the order of their ids."""
    return np.array([world.item_row[item_id] for item_id in ids], np.int64)


ENDPOINTS = {
    "/recommend": _recommend,
    "/recommend/batch": _batch,
    "/recommend/history": _history,
    "/similar/items": _similar_items,
    "/similar/users": _similar_users,
    "/score": _score,
    "/explain": _explain,
}
