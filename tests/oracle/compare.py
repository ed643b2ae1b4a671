"""A response compared with the expected one: equal but for float32's error. Each finding is a sentence."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from recoserve.bundle.arrays import Float64Array, Rows
from tests.oracle.expected import Expected, Ranking, Reasons, expected_response
from tests.oracle.faults import NULLABLE, Fault, faults
from tests.oracle.world import ERROR, World

RELATIVE_ERROR = 1e-5
STATUS = {"invalid-request": 422, "unknown-id": 422, "id-out-of-range": 422, "unknown-model": 404}
REASON_MEMBERS = {"item_id", "cosine", "share"}


def findings(
    worlds: Mapping[str, World], default: str, endpoint: str, body: Mapping[str, Any], status: int, document: Mapping[str, Any]
) -> list[str]:
    """All that is wrong with a response; `default` is the model of a request that names none."""
    request = {field: value for field, value in body.items() if value is not None or field not in NULLABLE}
    wrong = faults(worlds, default, endpoint, request)
    if wrong:
        return list(_problem(wrong, status, document))
    world = worlds[request.get("model", default)]
    return list(_answer(world, expected_response(world, endpoint, request), status, document))


def _problem(faults: Sequence[Fault], status: int, document: Mapping[str, Any]) -> Iterator[str]:
    """A problem document must name faults of the request, of one type, and nothing else."""
    kind = str(document.get("type", "")).removeprefix("/problems/")
    if kind not in {fault.kind for fault in faults} or status != STATUS[kind]:
        yield f"answered {status} {kind or 'with 200'}, expected {sorted({fault.kind for fault in faults})}"
        return
    for pointer in [error["pointer"] for error in document.get("errors", [])] or [None]:
        if not any(fault.covers(kind, pointer or fault.pointer) and (pointer is not None or fault.below) for fault in faults):
            yield f"{kind} at {pointer}, expected one of {[fault.pointer for fault in faults][:5]}"


def _answer(world: World, expected: Expected, status: int, document: Mapping[str, Any]) -> Iterator[str]:
    """An answer must have the expected members, with the right values in the right order."""
    if status != 200:
        yield f"answered {status} {document.get('type')} {document.get('errors')}, expected an answer"
        return
    yield from _members(world, expected, document)


def _members(world: World, expected: Expected, document: Mapping[str, Any]) -> Iterator[str]:
    others = {key: value for key, value in document.items() if key not in ("items", "users", "results", "score")}
    if others != dict(expected.members):
        yield f"says {str(others)[:300]}, expected {str(dict(expected.members))[:300]}"
    if expected.ranking is not None:
        side = "users" if "users" in document else "items"
        yield from _ranking(world, expected.ranking, side, document[side])
    elif expected.reasons is not None:
        yield from _explained(world, expected, document)
    elif "results" in document:
        yield from _results(world, expected, document["results"])
    else:
        yield from _scored(expected, document["items"])


def _results(world: World, expected: Expected, results: Sequence[Any]) -> Iterator[str]:
    if len(results) != len(expected.results):
        yield f"{len(results)} results, expected {len(expected.results)}"
    for index, (expected_result, result) in enumerate(zip(expected.results, results, strict=False)):
        yield from (f"result {index}: {finding}" for finding in _members(world, expected_result, result))


def _scored(expected: Expected, items: Sequence[Any]) -> Iterator[str]:
    if [item["item_id"] for item in items] != [item_id for item_id, _ in expected.scored]:
        yield "scored items are not those of the request, in its order"
        return
    for item, (item_id, score) in zip(items, expected.scored, strict=True):
        if item.keys() != {"item_id", "score"} or not _close(item["score"], score, expected.error):
            yield f"item {item_id} scored {item}, expected {score}"


def _explained(world: World, expected: Expected, document: Mapping[str, Any]) -> Iterator[str]:
    assert expected.reasons is not None
    item, reasons = expected.reasons
    if not _close(document["score"], expected.scored[0][1], expected.error):
        yield f"score {document['score']}, expected {expected.scored[0][1]}"
    yield from _reasons(world, reasons, item, document["items"], expected.metadata)


def _ranking(world: World, expected: Ranking, side: str, listed: Sequence[Any]) -> Iterator[str]:
    key, by_id = ("user_id", world.user_row) if side == "users" else ("item_id", world.item_row)
    rows = [by_id.get(entry[key]) for entry in listed]
    if None in rows or len(set(rows)) != len(rows):
        yield f"an id is unknown or comes twice in {rows[:20]}"
        return
    ranked = np.array(rows, np.int64)
    if not np.isin(ranked, expected.rows).all():
        yield f"items that must not be there, rows {ranked[~np.isin(ranked, expected.rows)][:10]}"
        return
    if len(ranked) != min(expected.k, len(expected.rows)):
        yield f"{len(ranked)} in the list of {expected.k}, with {len(expected.rows)} to choose from"
        return
    scores = np.array([entry["score"] for entry in listed], np.float64)
    yield from _scores(expected, ranked, scores)
    yield from _diverse(world, expected, ranked) if expected.diversity else _best(expected, ranked, scores)
    yield from _entry_members(world, expected, key, ranked, listed)


def _scores(expected: Ranking, ranked: Rows, scores: Float64Array) -> Iterator[str]:
    truth = expected.scores[ranked]
    wrong = np.flatnonzero(np.abs(scores - truth) > expected.error + RELATIVE_ERROR * np.abs(truth))
    if len(wrong):
        yield f"position {wrong[0]}, row {ranked[wrong[0]]}: score {scores[wrong[0]]}, expected {truth[wrong[0]]}"


def _best(expected: Ranking, ranked: Rows, scores: Float64Array) -> Iterator[str]:
    """The i-th score must be the i-th best; scores don't rise, and equal ones come in row order."""
    order = np.lexsort((expected.rows, -expected.scores[expected.rows]))[: len(ranked)]
    truth = expected.scores[expected.rows[order]]
    wrong = np.flatnonzero(np.abs(expected.scores[ranked] - truth) > 2 * expected.error + RELATIVE_ERROR * np.abs(truth))
    if len(wrong):
        first = wrong[0]
        score = expected.scores[ranked[first]]
        yield f"position {first}: row {ranked[first]} of {score}, the best that remains has {truth[first]}"
    steps = np.diff(scores)
    if (steps > 0).any():
        yield "scores rise"
    if not expected.finer and ((steps == 0) & (np.diff(ranked) < 0)).any():
        yield "equal scores that are not in row order"
    if expected.error == 0 and (ranked != expected.rows[order]).any():
        # Scores without an error are whole numbers or zeros, whose order float32 keeps exactly.
        yield f"rows {ranked[:10]}, expected {expected.rows[order][:10]}"


def _diverse(world: World, expected: Ranking, ranked: Rows) -> Iterator[str]:
    """Each item must have the largest (1-d) r - d max(cosine to those before) of the items that remain in the pool.

    The pool holds the best by score. Float32's error decides whether an item at the pool's edge is in it, so either is right.
    """
    assert world.tables is not None
    if not len(ranked):
        return
    best_first = expected.rows[np.argsort(-expected.scores[expected.rows], kind="stable")]
    depth, vectors = max(4 * expected.k, 100), world.tables.unit_items
    high, low = (expected.scores[best_first[position]] for position in (0, min(depth, len(best_first)) - 1))
    edge_error = 2 * expected.error + RELATIVE_ERROR * abs(low)
    pool = best_first[expected.scores[best_first] >= low - edge_error]
    certain = expected.scores[pool] > low + edge_error if len(best_first) > depth else np.ones(len(pool), bool)
    spread = high - low
    relevance = np.clip((expected.scores[pool] - low) / spread, 0, 1) if spread else np.ones(len(pool))
    score_error = expected.error + RELATIVE_ERROR * max(abs(high), abs(low))
    error = ERROR * 4 + (4 * score_error / spread if spread else 0)
    value, remaining = relevance, np.ones(len(pool), bool)
    nearest = np.full(len(pool), -np.inf)
    for position, row in enumerate(ranked):
        index = np.flatnonzero(pool == row)
        if not len(index) or value[index[0]] < value[remaining & certain].max(initial=-np.inf) - error:
            yield f"position {position}: row {row} is not what diversity {expected.diversity} chooses of the remaining items"
            return
        remaining[index[0]] = False
        nearest = np.maximum(nearest, vectors[pool] @ vectors[row])
        value = (1 - expected.diversity) * relevance - expected.diversity * nearest


def _entry_members(world: World, expected: Ranking, key: str, ranked: Rows, listed: Sequence[Any]) -> Iterator[str]:
    """Each entry must have its id, its score and what the request includes, and nothing else."""
    members = {key, "score"} | ({"metadata"} if expected.metadata else set()) | ({"explanation"} if expected.reasons else set())
    for row, entry in zip(ranked, listed, strict=True):
        if entry.keys() != members:
            yield f"members {sorted(entry)}, expected {sorted(members)}"
        elif expected.metadata and entry["metadata"] != _metadata(world, row):
            yield f"row {row}: metadata {entry['metadata']}, expected {_metadata(world, row)}"
        elif expected.reasons:
            yield from _reasons(world, expected.reasons, int(row), entry["explanation"], metadata=False)


def _metadata(world: World, row: int) -> Any:
    return dict(world.metadata[row]) if world.metadata is not None else {}


def _reasons(world: World, expected: Reasons, item: int, listed: Sequence[Any], metadata: bool) -> Iterator[str]:
    assert world.tables is not None
    interactions = expected.interactions[expected.interactions != item]
    cosines = world.tables.unit_items[interactions] @ world.tables.unit_items[item]
    cosine_of = dict(zip(interactions.tolist(), cosines.tolist(), strict=True))
    best = np.sort(cosines[cosines > 0])[::-1]
    rows = [world.item_row.get(reason["item_id"], -1) for reason in listed]
    least, most = (int((cosines > edge).sum()) for edge in (ERROR, -ERROR))
    if len(set(rows)) != len(rows) or not set(rows) <= cosine_of.keys():
        yield f"row {item} is explained by {rows}, which are not the user's interactions"
        return
    if not min(expected.k, least) <= len(rows) <= min(expected.k, most):
        yield f"row {item}: {len(rows)} reasons, expected {min(expected.k, least)}"
    for position, (row, reason) in enumerate(zip(rows, listed, strict=True)):
        best_cosine = best[position] if position < len(best) else 0.0
        for finding in _reason(reason, cosine_of[row], best_cosine, best):
            yield f"row {item}, reason {position}, row {row}: {finding}"
        members = REASON_MEMBERS | ({"metadata"} if metadata else set())
        if reason.keys() != members or (metadata and reason["metadata"] != _metadata(world, row)):
            yield f"row {item}, reason {position}: members {reason}, expected {sorted(members)}"


def _reason(reason: Mapping[str, Any], cosine: float, best_cosine: float, best: Float64Array) -> Iterator[str]:
    """`cosine` is this reason's true one, `best_cosine` the true one of its position, `best` all positive ones."""
    total = best.sum()
    if not (_close(reason["cosine"], cosine, ERROR) and abs(cosine - best_cosine) <= 2 * ERROR and reason["cosine"] > 0):
        yield f"cosine {reason['cosine']}, expected {cosine}, and {best_cosine} at this position"
    share = max(cosine, 0.0) / total if total else 0.0
    if total > 100 * ERROR and not _close(reason["share"], share, ERROR * (1 + len(best) * share) / total):
        yield f"share {reason['share']}, expected {share}"


def _close(number: float, truth: float, error: float) -> bool:
    return abs(number - truth) <= error + RELATIVE_ERROR * abs(truth)
