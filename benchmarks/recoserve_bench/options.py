"""What a request's options cost: each beside the same user's plain request, in turns, and whether the rankings are exact.

The items have a column of random numbers below 10,000, so that `bucket` in a range of n of them passes n / 10,000 of the items,
and a column `side`, which tells the sign of the vectors' first coordinate and so cuts through the clusters. A user's best items are
what is excluded, and what the user has seen: the hardest case, in which all that scores best must be passed over.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count, product
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float64Array, Rows
from recoserve.recommend.requests import RecommendRequest
from recoserve.recommend.top_k import for_user
from recoserve.scheduling.loader import load_model
from recoserve.search.model import Model
from recoserve.search.query import Ranking
from recoserve_bench import report
from recoserve_bench.bundle import bundle_of
from recoserve_bench.report import Figure
from recoserve_bench.tables import write_tables

BUCKETS = 10_000
SEEN = 2000
TOLERANCE = 1e-6
PLAIN = "plain"


@dataclass(frozen=True)
class Columns:
    """The metadata of the items that filters ask for: `bucket` int64 [N] and whether an item's `side` is east, bool [N]."""

    bucket: Rows
    is_east: NDArray[np.bool_]

    def allows(self, request: RecommendRequest) -> NDArray[np.bool_]:
        """Which items pass the request's filter, bool [N]: computed without the engine, whose rankings it checks."""
        allowed = np.ones(len(self.bucket), np.bool_)
        for column, clauses in request.clauses.items():
            if column == "side":
                allowed &= self.is_east
            else:
                allowed &= (self.bucket >= clauses["gte"]) & (self.bucket <= clauses["lte"])
        return allowed


class Turn(NamedTuple):
    """What the fields of a request may depend on: the user's best items, best first, and a number that is new each time."""

    best: Rows
    new: int


@dataclass(frozen=True)
class Case:
    """One kind of request: its fields beside the user."""

    name: str
    fields: Callable[[Turn], dict[str, Any]]


def _buckets(first: int, number: int) -> dict[str, Any]:
    """A filter that `number` of all buckets pass."""
    start = first % (BUCKETS - number)
    return {"filter": {"bucket": {"gte": start, "lte": start + number - 1}}}


CASES = [
    Case(PLAIN, lambda _: {}),
    Case("filter 0.01 %", lambda _: _buckets(0, 1)),
    Case("filter 1 %", lambda _: _buckets(0, 100)),
    Case("filter 10 %", lambda _: _buckets(0, 1000)),
    Case("filter 50 %", lambda _: _buckets(0, 5000)),
    Case("filter 50 %, one side", lambda _: {"filter": {"side": {"eq": "east"}}}),
    Case("new filter 0.01 %", lambda turn: _buckets(turn.new, 1)),
    Case("new filter 1 %", lambda turn: _buckets(turn.new, 100)),
    Case("new filter 50 %", lambda turn: _buckets(turn.new, 5000)),
    Case("500 exclusions", lambda turn: {"exclude_item_ids": turn.best[:500].tolist()}),
    Case("2,000 seen", lambda _: {"exclude_seen": True}),
    Case("these three", lambda turn: _buckets(0, 5000) | {"exclude_seen": True, "exclude_item_ids": turn.best[:500].tolist()}),
    Case("diversity 0.5", lambda _: {"diversity": 0.5}),
]


@dataclass
class Measured:
    """One case over all users and rounds: seconds of each request, wrong rankings, and how often each retrieval path was taken."""

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    paths: Counter[str] = field(default_factory=Counter)


def measure(folder: Path, items: int, dim: int, users: int, rounds: int, threads: int) -> list[Figure]:
    """Send each case of each user in turn, `rounds` times, one request at a time; before that, one round is checked in float64."""
    user_file, item_file = write_tables(folder, "clustered", items, users, dim)
    user_table, item_table = np.load(user_file), np.load(item_file)
    columns = Columns(np.random.default_rng(5).integers(0, BUCKETS, len(item_table)), item_table[:, 0] > 0)
    scores = [item_table @ user.astype(np.float64) for user in user_table]
    best = [_best_rows(user_scores) for user_scores in scores]
    files = _metadata_and_interactions(folder / f"options-{items}x{dim}-{users}", columns, best)
    model = load_model(bundle_of(user_file, item_file, *files), threads=threads)
    measured: dict[str, Measured] = defaultdict(Measured)
    fresh = count(1, 7)
    for is_timed, user, case in product([False, *[True] * rounds], range(users), CASES):
        request = RecommendRequest(user_id=user, **case.fields(Turn(best[user], next(fresh))))
        ranking, seconds = _timed(model, request)
        if is_timed:
            measured[case.name].seconds.append(seconds)
        else:
            measured[case.name].paths[ranking.path or "scored"] += 1
            allowed_scores = _allowed_scores(columns, request, scores[user], best[user])
            measured[case.name].wrong += not _is_exact(allowed_scores, request, ranking)
    return [_figure(name, case, items, dim, users) for name, case in measured.items()]


def print_figures(figures: Sequence[Figure]) -> None:
    """Print a row for each case, with its ratio to the plain request."""
    plain = next(figure["median_ms"] for figure in figures if figure["operation"] == PLAIN)
    rows = [
        [
            figure["operation"],
            f"{figure['median_ms']:.2f}",
            f"{figure['p99_ms']:.2f}",
            report.ratio(figure["median_ms"], plain),
            f"{figure['wrong']} of {figure['checked']}",
            ", ".join(f"{path} {times}" for path, times in figure["paths"].items()),
        ]
        for figure in figures
    ]
    report.print_table(["request", "median ms", "p99 ms", "to plain", "wrong", "paths"], rows)


def _figure(name: str, case: Measured, items: int, dim: int, users: int) -> Figure:
    per_second = len(case.seconds) / sum(case.seconds)
    fields = {"items": items, "dim": dim, "wrong": case.wrong, "checked": users, "paths": dict(case.paths)}
    return report.figure("recoserve", name, case.seconds, per_second, **fields)


def _timed(model: Model, request: RecommendRequest) -> tuple[Ranking, float]:
    """The ranking, and the seconds from ids to rows and scores: what the service does, but for the queue and HTTP."""
    began = perf_counter()
    (ranking,) = model.rank(for_user(model, request).queries)
    return ranking, perf_counter() - began


def _best_rows(scores: Float64Array) -> Rows:
    """The `SEEN` best rows, best first."""
    rows = np.argpartition(-scores, SEEN)[:SEEN]
    ordered: Rows = rows[np.argsort(-scores[rows])]
    return ordered


def _metadata_and_interactions(stem: Path, columns: Columns, best: Sequence[Rows]) -> list[str]:
    """The columns and the users' best items as files, and the exporter's options for them; files already there are reused."""
    metadata, interactions = stem.with_suffix(".items.csv"), stem.with_suffix(".seen.csv")
    if not interactions.exists():
        with metadata.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["item_id", "bucket", "side"])
            sides = np.where(columns.is_east, "east", "west").tolist()
            writer.writerows(zip(range(len(sides)), columns.bucket.tolist(), sides, strict=True))
        with interactions.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["user_id", "item_id"])
            writer.writerows((user, item) for user, rows in enumerate(best) for item in rows.tolist())
    return ["--items", str(metadata), "--interactions", str(interactions)]


def _allowed_scores(columns: Columns, request: RecommendRequest, scores: Float64Array, seen: Rows) -> Float64Array:
    """The user's scores, float64 [N], -inf where the request rules an item out."""
    allowed = columns.allows(request)
    allowed[np.array(request.exclude_item_ids, np.int64)] = False
    if request.exclude_seen:
        allowed[seen] = False
    return np.where(allowed, scores, -np.inf)


def _is_exact(allowed_scores: Float64Array, request: RecommendRequest, ranking: Ranking) -> bool:
    """Whether a ranking is the best that is allowed, ties aside; of a diverse one: k allowed items, the best of all first."""
    rows = ranking.item_rows
    if request.diversity:
        all_allowed = bool(np.isfinite(allowed_scores[rows]).all())
        return len(rows) == request.k and all_allowed and rows[0] == np.argmax(allowed_scores)
    best = np.sort(np.partition(allowed_scores, -request.k)[-request.k :])[::-1]
    best = best[np.isfinite(best)]
    is_complete = len(rows) == len(set(rows.tolist())) == len(best)
    return is_complete and bool((np.abs(allowed_scores[rows] - best) <= TOLERANCE).all())
