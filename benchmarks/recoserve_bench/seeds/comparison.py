"""Whether the items of a response are the top-k of the framework's own scores over all items."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recoserve.bundle.arrays import Float64Array
from recoserve_bench.seeds.data import Data
from recoserve_bench.seeds.service import Service

TIE = 1e-5  # what float32 may lose: absolute of scores up to 1, relative of larger ones

Truth = Callable[[int], Float64Array]


@dataclass(frozen=True)
class Comparison:
    """How many users were compared, for how many the items are wrong, and the largest difference of a score."""

    users: int
    wrong: int
    difference: float


def compare(service: Service, truth: Truth, data: Data, users: int, k: int) -> Comparison:
    """Compare the responses for users from all over the table; `truth` gives the scores of a user row for all films."""
    rows = np.unique(np.linspace(0, len(data.user_ids) - 1, users).astype(int)).tolist()
    checks = [_check(service.recommend(data.user_ids[row], k), truth(row), data, k) for row in rows]
    return Comparison(len(rows), sum(not right for right, _ in checks), max(difference for _, difference in checks))


def _check(items: Sequence[dict[str, Any]], expected: Float64Array, data: Data, k: int) -> tuple[bool, float]:
    """Whether these are the `k` best in order, with the framework's scores; and the largest difference of a score."""
    rows = [data.row_of[item["item_id"]] for item in items]
    scores = np.array([item["score"] for item in items])
    if len(rows) != min(k, len(expected)) or len(set(rows)) != len(rows):
        return False, float("inf")
    best = np.sort(expected)[::-1][: len(rows)]
    gaps = np.maximum(np.abs(scores - expected[rows]), np.abs(scores - best))
    right = np.all(gaps <= TIE * np.maximum(1, np.abs(best))) and np.all(np.diff(scores) <= 0)
    return bool(right), float(np.abs(scores - expected[rows]).max())


def by_vectors(vectors: tuple[Float64Array, Float64Array], cosine: bool) -> Truth:
    """The dot products of two tables, or their cosines, as a Truth."""
    users, movies = (table / np.linalg.norm(table, axis=1, keepdims=True) if cosine else table for table in vectors)
    return lambda row: movies @ users[row]
