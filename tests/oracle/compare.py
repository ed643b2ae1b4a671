"""A response against what the oracle expects: what float32 may be off apart, exact. Each finding is a sentence."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tests.oracle import oracle
from tests.oracle.faults import NULLABLE, Fault, faults
from tests.oracle.oracle import Expected, Ranked, Reasons
from tests.oracle.world import ROOM, Rows, Scores, World

RELATIVE = 1e-5
STATUS = {"invalid-request": 422, "unknown-id": 422, "id-out-of-range": 422, "unknown-model": 404}
REASON = {"item_id", "cosine", "share"}


def findings(
    worlds: Mapping[str, World], default: str, endpoint: str, body: Mapping[str, Any], status: int, document: Mapping[str, Any]
) -> list[str]:
    """All that is wrong with a response; `default` is the model that answers where a request names none."""
    asked = {field: value for field, value in body.items() if value is not None or field not in NULLABLE}
    wrong = faults(worlds, default, endpoint, asked)
    if wrong:
        return list(_problem(wrong, status, document))
    world = worlds[asked.get("model", default)]
    return list(_answer(world, oracle.answer(world, endpoint, asked), status, document))


def _problem(faults: Sequence[Fault], status: int, document: Mapping[str, Any]) -> Iterator[str]:
    """A problem document names faults of the request, of one type, and nothing else."""
    kind = str(document.get("type", "")).removeprefix("/problems/")
    if kind not in {fault.kind for fault in faults} or status != STATUS[kind]:
        yield f"answered {status} {kind or 'with 200'}, expected {sorted({fault.kind for fault in faults})}"
        return
    for pointer in [error["pointer"] for error in document.get("errors", [])] or [None]:
        if not any(fault.covers(kind, pointer or fault.pointer) and (pointer is not None or fault.below) for fault in faults):
            yield f"{kind} at {pointer}, expected one of {[fault.pointer for fault in faults][:5]}"


def _answer(world: World, expected: Expected, status: int, document: Mapping[str, Any]) -> Iterator[str]:
    """An answer has the members expected, right in value and order."""
    if status != 200:
        yield f"answered {status} {document.get('type')} {document.get('errors')}, expected an answer"
        return
    yield from _members(world, expected, document)


def _members(world: World, expected: Expected, document: Mapping[str, Any]) -> Iterator[str]:
    listed = {key: value for key, value in document.items() if key not in ("items", "users", "results", "score")}
    if listed != dict(expected.said):
        yield f"says {str(listed)[:300]}, expected {str(dict(expected.said))[:300]}"
    if expected.ranked is not None:
        side = "users" if "users" in document else "items"
        yield from _ranked(world, expected.ranked, side, document[side])
    elif expected.reasons is not None:
        yield from _explained(world, expected, document)
    elif "results" in document:
        yield from _results(world, expected, document["results"])
    else:
        yield from _scored(expected, document["items"])


def _results(world: World, expected: Expected, results: Sequence[Any]) -> Iterator[str]:
    if len(results) != len(expected.results):
        yield f"{len(results)} results, expected {len(expected.results)}"
    for place, (one, result) in enumerate(zip(expected.results, results, strict=False)):
        yield from (f"result {place}: {finding}" for finding in _members(world, one, result))


def _scored(expected: Expected, items: Sequence[Any]) -> Iterator[str]:
    if [item["item_id"] for item in items] != [item_id for item_id, _ in expected.scored]:
        yield "scored items are not those asked for, in the order asked"
        return
    for item, (item_id, score) in zip(items, expected.scored, strict=True):
        if item.keys() != {"item_id", "score"} or not _close(item["score"], score, expected.room):
            yield f"item {item_id} scored {item}, expected {score}"


def _explained(world: World, expected: Expected, document: Mapping[str, Any]) -> Iterator[str]:
    assert expected.reasons is not None
    item, reasons = expected.reasons
    if not _close(document["score"], expected.scored[0][1], expected.room):
        yield f"score {document['score']}, expected {expected.scored[0][1]}"
    yield from _reasons(world, reasons, item, document["items"], expected.metadata)


def _ranked(world: World, expected: Ranked, side: str, listed: Sequence[Any]) -> Iterator[str]:
    key, by_id = ("user_id", world.user_row) if side == "users" else ("item_id", world.item_row)
    rows = [by_id.get(one[key]) for one in listed]
    if None in rows or len(set(rows)) != len(rows):
        yield f"an id is unknown or stands twice in {rows[:20]}"
        return
    found = np.array(rows, np.int64)
    if not np.isin(found, expected.rows).all():
        yield f"items that must not be there, rows {found[~np.isin(found, expected.rows)][:10]}"
        return
    if len(found) != min(expected.k, len(expected.rows)):
        yield f"{len(found)} in the list of {expected.k}, with {len(expected.rows)} to choose from"
        return
    scores = np.array([one["score"] for one in listed], np.float64)
    yield from _own_scores(expected, found, scores)
    yield from _diverse(world, expected, found) if expected.diversity else _best(expected, found, scores)
    yield from _around(world, expected, key, found, listed)


def _own_scores(expected: Ranked, found: Rows, scores: Scores) -> Iterator[str]:
    truth = expected.scores[found]
    wrong = np.flatnonzero(np.abs(scores - truth) > expected.room + RELATIVE * np.abs(truth))
    if len(wrong):
        yield f"place {wrong[0]}, row {found[wrong[0]]}: score {scores[wrong[0]]}, expected {truth[wrong[0]]}"


def _best(expected: Ranked, found: Rows, scores: Scores) -> Iterator[str]:
    """The i-th score is the i-th best; scores don't rise, and equal ones come in row order."""
    order = np.lexsort((expected.rows, -expected.scores[expected.rows]))[: len(found)]
    truth = expected.scores[expected.rows[order]]
    wrong = np.flatnonzero(np.abs(expected.scores[found] - truth) > 2 * expected.room + RELATIVE * np.abs(truth))
    if len(wrong):
        yield f"place {wrong[0]}: row {found[wrong[0]]} of {expected.scores[found][wrong[0]]}, the best left has {truth[wrong[0]]}"
    steps = np.diff(scores)
    if (steps > 0).any():
        yield "scores rise"
    if not expected.finer and ((steps == 0) & (np.diff(found) < 0)).any():
        yield "equal scores that are not in row order"
    if expected.room == 0 and (found != expected.rows[order]).any():
        yield f"rows {found[:10]}, expected {expected.rows[order][:10]}: of whole numbers, and of zeros, every place is certain"


def _diverse(world: World, expected: Ranked, found: Rows) -> Iterator[str]:
    """Each place has the largest (1-d) r - d max(cosine to those before) of those left in the pool, within float32."""
    assert world.tables is not None
    if not len(found):
        return
    best_first = expected.rows[np.argsort(-expected.scores[expected.rows], kind="stable")]
    depth, vectors = max(4 * expected.k, 100), world.tables.unit_items
    high, low = (expected.scores[best_first[place]] for place in (0, min(depth, len(best_first)) - 1))
    edge = 2 * expected.room + RELATIVE * abs(low)
    maybe = best_first[expected.scores[best_first] >= low - edge]
    surely = expected.scores[maybe] > low + edge if len(best_first) > depth else np.ones(len(maybe), bool)
    span = high - low
    relevance = np.clip((expected.scores[maybe] - low) / span, 0, 1) if span else np.ones(len(maybe))
    room = ROOM * 4 + (4 * (expected.room + RELATIVE * max(abs(high), abs(low))) / span if span else 0)
    value, left = relevance, np.ones(len(maybe), bool)
    nearest = np.full(len(maybe), -np.inf)
    for place, row in enumerate(found):
        at = np.flatnonzero(maybe == row)
        if not len(at) or value[at[0]] < value[left & surely].max(initial=-np.inf) - room:
            yield f"place {place}: row {row} is not what diversity {expected.diversity} takes of those left"
            return
        left[at[0]] = False
        nearest = np.maximum(nearest, vectors[maybe] @ vectors[row])
        value = (1 - expected.diversity) * relevance - expected.diversity * nearest


def _around(world: World, expected: Ranked, key: str, found: Rows, listed: Sequence[Any]) -> Iterator[str]:
    """What stands beside each score."""
    members = {key, "score"} | ({"metadata"} if expected.metadata else set()) | ({"explanation"} if expected.reasons else set())
    for row, one in zip(found, listed, strict=True):
        if one.keys() != members:
            yield f"members {sorted(one)}, expected {sorted(members)}"
        elif expected.metadata and one["metadata"] != _metadata(world, row):
            yield f"row {row}: metadata {one['metadata']}, expected {_metadata(world, row)}"
        elif expected.reasons:
            yield from _reasons(world, expected.reasons, int(row), one["explanation"], metadata=False)


def _metadata(world: World, row: int) -> Any:
    return dict(world.metadata[row]) if world.metadata is not None else {}


def _reasons(world: World, expected: Reasons, item: int, listed: Sequence[Any], metadata: bool) -> Iterator[str]:
    assert world.tables is not None
    own = expected.own[expected.own != item]
    cosines = world.tables.unit_items[own] @ world.tables.unit_items[item]
    truth = dict(zip(own.tolist(), cosines.tolist(), strict=True))
    best = np.sort(cosines[cosines > 0])[::-1]
    rows = [world.item_row.get(one["item_id"], -1) for one in listed]
    least, most = (int((cosines > edge).sum()) for edge in (ROOM, -ROOM))
    if len(set(rows)) != len(rows) or not set(rows) <= truth.keys():
        yield f"row {item} is explained by {rows}, which are not the user's own"
        return
    if not min(expected.k, least) <= len(rows) <= min(expected.k, most):
        yield f"row {item}: {len(rows)} reasons, expected {min(expected.k, least)}"
    for place, (row, one) in enumerate(zip(rows, listed, strict=True)):
        wanted = best[place] if place < len(best) else 0.0
        yield from (f"row {item}, reason {place}, row {row}: {finding}" for finding in _reason(one, truth[row], wanted, best))
        members = REASON | ({"metadata"} if metadata else set())
        if one.keys() != members or (metadata and one["metadata"] != _metadata(world, row)):
            yield f"row {item}, reason {place}: members {one}, expected {sorted(members)}"


def _reason(one: Mapping[str, Any], cosine: float, wanted: float, best: Scores) -> Iterator[str]:
    """`cosine` is this reason's own, `wanted` the one that belongs to its place, `best` all positive ones."""
    total = best.sum()
    if not (_close(one["cosine"], cosine, ROOM) and abs(cosine - wanted) <= 2 * ROOM and one["cosine"] > 0):
        yield f"cosine {one['cosine']}, expected {cosine}, and {wanted} at this place"
    share = max(cosine, 0.0) / total if total else 0.0
    if total > 100 * ROOM and not _close(one["share"], share, ROOM * (1 + len(best) * share) / total):
        yield f"share {one['share']}, expected {share}"


def _close(found: float, truth: float, room: float) -> bool:
    return abs(found - truth) <= room + RELATIVE * abs(truth)
