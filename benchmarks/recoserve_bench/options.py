"""What a request's options cost: each beside the same user's request without it, in turn, and whether the answers are exact.

The catalogue has a column of random numbers below 10,000, so that `bucket` in a range of n of them passes n / 10,000 of the items,
and a column `side`, which tells the sign of the vectors' first coordinate and so cuts through the clusters. A user's best items are
what is excluded, and what the user has seen: the hardest case, in which all that scores best must be passed over.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recoserve.recommend.query_builder import of_user
from recoserve.recommend.requests import RecommendRequest
from recoserve.scheduling.loader import load_model
from recoserve.search.model import Model
from recoserve.search.query import Ranking
from recoserve_bench import figures
from recoserve_bench.bundle import bundle_of
from recoserve_bench.figures import Figure
from recoserve_bench.tables import write_tables

BUCKETS = 10_000
SEEN = 2000
TOLERANCE = 1e-6
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]
PLAIN = "plain"


@dataclass(frozen=True)
class Catalogue:
    """What the oracle knows: both tables, and the columns."""

    users: Floats
    items: Floats
    bucket: Rows
    side: NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """One kind of request: its fields for a user."""

    name: str
    fields: Callable[["Turn"], dict[str, Any]]


class Turn(NamedTuple):
    """A user's best items, best first, and a number that is new each time."""

    best: Rows
    new: int


def _buckets(first: int, number: int) -> dict[str, Any]:
    """A filter that `number` of all buckets pass."""
    return {"filter": {"bucket": {"gte": first % (BUCKETS - number), "lte": first % (BUCKETS - number) + number - 1}}}


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


class Kept:
    """What is kept of one case over all users and rounds."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.wrong = 0
        self.paths: Counter[str] = Counter()

    def verdict(self, users: int) -> dict[str, Any]:
        """What the figures tell beside the times."""
        return {"wrong": self.wrong, "checked": users, "paths": dict(self.paths)}


def measure(folder: Path, items: int, dim: int, users: int, rounds: int, threads: int) -> list[Figure]:
    """Each case of each user in turn, `rounds` times, one request at a time; the first answers are checked in float64."""
    users_file, items_file = write_tables(folder, "clustered", items, users, dim)
    catalogue = _catalogue(np.load(users_file), np.load(items_file))
    scores = [catalogue.items @ user.astype(np.float64) for user in catalogue.users]
    best = [np.argpartition(-each, SEEN)[:SEEN] for each in scores]
    best = [rows[np.argsort(-each[rows])] for rows, each in zip(best, scores, strict=True)]
    companions = _companions(folder / f"options-{items}x{dim}-{users}", catalogue, best)
    model = load_model(bundle_of(users_file, items_file, *companions), threads=threads)
    kept: dict[str, Kept] = defaultdict(Kept)
    fresh = count(1, 7)
    for measured, user, case in product([False, *[True] * rounds], range(users), CASES):
        wanted, one = RecommendRequest(user_id=user, **case.fields(Turn(best[user], next(fresh)))), kept[case.name]
        ranked, seconds = _asked(model, wanted)
        if measured:
            one.times.append(seconds)
        else:
            one.paths[ranked.path or "scored"] += 1
            one.wrong += not _exact(_allowed(catalogue, wanted, scores[user], best[user]), wanted, ranked)
    return [
        figures.figure("recoserve", name, one.times, len(one.times) / sum(one.times), items=items, dim=dim, **one.verdict(users))
        for name, one in kept.items()
    ]


def print_figures(found: Sequence[Figure]) -> None:
    """A row for each case, with its ratio to the plain request."""
    plain = next(one["median_ms"] for one in found if one["operation"] == PLAIN)
    rows = [
        [
            one["operation"],
            f"{one['median_ms']:.2f}",
            f"{one['p99_ms']:.2f}",
            figures.ratio(one["median_ms"], plain),
            f"{one['wrong']} of {one['checked']}",
            ", ".join(f"{path} {times}" for path, times in one["paths"].items()),
        ]
        for one in found
    ]
    figures.print_table(["request", "median ms", "p99 ms", "to plain", "wrong", "ways"], rows)


def _asked(model: Model, wanted: RecommendRequest) -> tuple[Ranking, float]:
    """From ids to ranked rows, as the service does it, but for the queue and HTTP."""
    began = perf_counter()
    (ranked,) = model.rank([of_user(model, wanted).query])
    return ranked, perf_counter() - began


def _catalogue(users: Floats, items: Floats) -> Catalogue:
    return Catalogue(users, items, np.random.default_rng(5).integers(0, BUCKETS, len(items)), items[:, 0] > 0)


def _companions(stem: Path, catalogue: Catalogue, best: Sequence[Rows]) -> list[str]:
    """The catalogue's columns and the users' best items as the exporter's options; files that are there already are kept."""
    metadata, pairs = stem.with_suffix(".items.csv"), stem.with_suffix(".seen.csv")
    if not pairs.exists():
        with metadata.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["item_id", "bucket", "side"])
            sides = np.where(catalogue.side, "east", "west").tolist()
            writer.writerows(zip(range(len(sides)), catalogue.bucket.tolist(), sides, strict=True))
        with pairs.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["user_id", "item_id"])
            writer.writerows((user, item) for user, rows in enumerate(best) for item in rows.tolist())
    return ["--items", str(metadata), "--interactions", str(pairs)]


def _allowed(catalogue: Catalogue, wanted: RecommendRequest, scores: Doubles, best: Rows) -> Doubles:
    """The user's scores, float64 [N], -inf where the item may not be in the answer."""
    passing = np.ones(len(scores), np.bool_)
    for column, clauses in wanted.conditions.items():
        if column == "side":
            passing &= catalogue.side
        else:
            passing &= (catalogue.bucket >= clauses["gte"]) & (catalogue.bucket <= clauses["lte"])
    passing[np.array(wanted.exclude_item_ids, np.int64)] = False
    if wanted.exclude_seen:
        passing[best] = False
    return np.where(passing, scores, -np.inf)


def _exact(allowed: Doubles, wanted: RecommendRequest, ranked: Ranking) -> bool:
    """Whether an answer is the best that is allowed: ties aside, or the greedy choice of a diverse one among the best."""
    rows = ranked.item_rows
    if wanted.diversity:
        return len(rows) == wanted.k and bool(np.isfinite(allowed[rows]).all()) and rows[0] == np.argmax(allowed)
    true = np.sort(np.partition(allowed, -wanted.k)[-wanted.k :])[::-1]
    true = true[np.isfinite(true)]
    return len(rows) == len(set(rows.tolist())) == len(true) and bool((np.abs(allowed[rows] - true) <= TOLERANCE).all())
