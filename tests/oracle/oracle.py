"""The expected answer to a request, by brute force in float64 over all items. It shares no code with the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tests.oracle.filters import passing
from tests.oracle.world import ROOM, Bools, Id, Rows, Scores, Tables, World

LISTED_REASONS = 5  # of an item in a list; /explain gives k


@dataclass(frozen=True)
class Reasons:
    """An explanation: the k of `own` rows nearest to the item, itself left out, by the cosine of item vectors."""

    own: Rows
    k: int


@dataclass(frozen=True)
class Ranked:
    """A list of items or users: the best k of `rows` by `scores` (float64 [N], each right within `room`).

    With `diversity` above 0 it is chosen greedily. `finer` tells that a model ranks by something finer than the scores it gives,
    such as what stands before a sigmoid; otherwise equal scores come in row order.
    """

    scores: Scores
    rows: Rows
    k: int
    room: float
    diversity: float = 0.0
    metadata: bool = False
    reasons: Reasons | None = None
    finer: bool = False


@dataclass(frozen=True)
class Expected:
    """An answer: `said` are the members that must be equal, `lists` the ranked lists by name of the member they stand in."""

    said: Mapping[str, Any]
    ranked: Ranked | None = None
    results: tuple["Expected", ...] = ()
    scored: tuple[tuple[Id, float], ...] = ()
    room: float = ROOM
    reasons: tuple[int, Reasons] | None = None  # of an item's row
    metadata: bool = False


def answer(world: World, endpoint: str, body: Mapping[str, Any]) -> Expected:
    """What a request without a fault is answered with."""
    model = {"model": {"name": world.name, "version": "1"}}
    found = ENDPOINTS[endpoint](world, body)
    return replace(found, said={**found.said, **model})


def _recommend(world: World, body: Mapping[str, Any]) -> Expected:
    return _of_user(world, body["user_id"], body, _allowed(world, body))


def _batch(world: World, body: Mapping[str, Any]) -> Expected:
    fallback = body.get("fallback") == "popular"
    answered = [one for one in body["user_ids"] if fallback or one in world.user_row]
    allowed = _allowed(world, body)
    missing = [one for one in body["user_ids"] if not fallback and one not in world.user_row]
    return Expected({"missing_user_ids": missing}, results=tuple(_of_user(world, one, body, allowed) for one in answered))


def _of_user(world: World, user_id: Id, body: Mapping[str, Any], allowed: Bools) -> Expected:
    user = world.user_row.get(user_id)
    if user is None:
        popular = Ranked(world.popularity, np.empty(0, np.int64), 0, 0.0)
        ranked = _with_options(world, popular, body, allowed, own=np.empty(0, np.int64), hidden=np.empty(0, np.int64))
        return Expected({"user_id": user_id, "fallback": "popular"}, ranked)
    own = world.seen[user]
    hidden = own if body.get("exclude_seen") else own[:0]
    ranked = Ranked(world.scores(user), own[:0], 0, world.room(user), finer=world.tables is None)
    return Expected({"user_id": user_id}, _with_options(world, ranked, body, allowed, own, hidden))


def _history(world: World, body: Mapping[str, Any]) -> Expected:
    assert world.tables is not None
    liked = rows(world, body.get("item_ids") or [])
    disliked = rows(world, body.get("negative_item_ids") or [])
    if "vector" in body:
        query, blur = np.array(body["vector"], np.float64), 1.0
    else:
        query, blur = _query(world.tables, liked, disliked, body.get("weights"))
    hidden = np.union1d(liked, disliked) if body.get("exclude_seen", True) else liked[:0]
    ranked = Ranked(world.tables.scores(query), hidden[:0], 0, blur * world.tables.room(query))
    return Expected({}, _with_options(world, ranked, body, _allowed(world, body), np.unique(liked), hidden))


def direction(tables: Tables, liked: Rows, disliked: Rows, weights: Sequence[float] | None) -> Scores:
    """Twice the weighted mean of what is liked less the mean of what is disliked, or the former alone; [d], of any length."""
    vectors = tables.unit_items if tables.cosine else tables.items
    shares = np.array(weights or [1.0] * len(liked), np.float64)
    shares /= shares.max()
    mean: Scores = shares @ vectors[liked] / shares.sum()
    return 2 * mean - vectors[disliked].mean(0) if len(disliked) else mean


def _query(tables: Tables, liked: Rows, disliked: Rows, weights: Sequence[float] | None) -> tuple[Scores, float]:
    """The query of a history, and how much less sharp than a vector of the table it is in float32, where its parts cancel out."""
    vectors = tables.unit_items if tables.cosine else tables.items
    found = direction(tables, liked, disliked, weights)
    blur = 1 + 3 * np.linalg.norm(vectors[np.concatenate([liked, disliked])], axis=1).max() / np.linalg.norm(found)
    if tables.cosine:
        return found / np.linalg.norm(found), blur
    fixed = (tables.users == tables.users[0]).all(0)
    length = np.sqrt((tables.users[:, ~fixed] ** 2).sum(1).mean())
    return np.where(fixed, tables.users[0], found / np.linalg.norm(found[~fixed]) * length), blur


def _similar_items(world: World, body: Mapping[str, Any]) -> Expected:
    assert world.tables is not None
    item = world.item_row[body["item_id"]]
    ranked = Ranked(world.tables.unit_items @ world.tables.unit_items[item], np.empty(0, np.int64), 0, ROOM)
    hidden = np.array([item], np.int64)
    return Expected({"item_id": body["item_id"]}, _with_options(world, ranked, body, _allowed(world, body), hidden[:0], hidden))


def _similar_users(world: World, body: Mapping[str, Any]) -> Expected:
    assert world.tables is not None
    user = world.user_row[body["user_id"]]
    others = np.delete(np.arange(len(world.user_ids)), user)
    ranked = Ranked(world.tables.unit_users @ world.tables.unit_users[user], others, body.get("k", 10), ROOM)
    return Expected({"user_id": body["user_id"]}, ranked)


def _score(world: World, body: Mapping[str, Any]) -> Expected:
    user = world.user_row[body["user_id"]]
    scores, known = world.scores(user), world.item_row
    scored = tuple((one, float(scores[known[one]])) for one in body["item_ids"] if one in known)
    missing = [one for one in body["item_ids"] if one not in known]
    return Expected({"user_id": body["user_id"], "missing_item_ids": missing}, scored=scored, room=world.room(user))


def _explain(world: World, body: Mapping[str, Any]) -> Expected:
    user, item = world.user_row[body["user_id"]], world.item_row[body["item_id"]]
    return Expected(
        {"user_id": body["user_id"], "item_id": body["item_id"]},
        scored=((body["item_id"], float(world.scores(user)[item])),),
        room=world.room(user),
        reasons=(item, Reasons(world.seen[user], body.get("k", 10))),
        metadata="metadata" in body.get("include", []),
    )


def _allowed(world: World, body: Mapping[str, Any]) -> Bools:
    """Which items a request lets into a list, before any that the user has seen are left out; [N]."""
    found = np.zeros(len(world.item_ids), bool)
    found[passing(world, body.get("filter", {}))] = True
    if body.get("candidate_item_ids") is not None:
        candidates = np.zeros_like(found)
        candidates[rows(world, body["candidate_item_ids"])] = True
        found &= candidates
    found[rows(world, body.get("exclude_item_ids", []))] = False
    return found


def _with_options(world: World, ranked: Ranked, body: Mapping[str, Any], allowed: Bools, own: Rows, hidden: Rows) -> Ranked:
    """The list with everything that a request says of it; `own` are the items that explain, `hidden` those to leave out."""
    include = body.get("include", [])
    left = allowed.copy()
    left[hidden] = False
    return replace(
        ranked,
        rows=np.flatnonzero(left),
        k=body.get("k", 10),
        diversity=float(body.get("diversity", 0)),
        metadata="metadata" in include,
        reasons=Reasons(own, LISTED_REASONS) if "explanation" in include else None,
    )


def rows(world: World, ids: Sequence[Id]) -> Rows:
    """The rows of known items, in the order given."""
    return np.array([world.item_row[one] for one in ids], np.int64)


ENDPOINTS = {
    "/recommend": _recommend,
    "/recommend/batch": _batch,
    "/recommend/history": _history,
    "/similar/items": _similar_items,
    "/similar/users": _similar_users,
    "/score": _score,
    "/explain": _explain,
}
