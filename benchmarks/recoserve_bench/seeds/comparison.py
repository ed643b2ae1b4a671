"""Whether an answer is the top-k of the framework's own scores over all items."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recoserve_bench.seeds.data import Data
from recoserve_bench.seeds.frameworks import Scores
from recoserve_bench.seeds.service import Service

TIE = 1e-5  # of scores up to 1, and of larger ones relative to their size: what float32 may lose on the way

Truth = Callable[[int], Scores]


@dataclass(frozen=True)
class Compared:
    """How many users were asked, for how many the answer is wrong, and the largest difference of a score."""

    users: int
    wrong: int
    difference: float


def compare(service: Service, truth: Truth, data: Data, users: int, k: int) -> Compared:
    """Ask for users from all over the table; `truth` gives the scores of one user row over all films."""
    rows = np.unique(np.linspace(0, len(data.user_ids) - 1, users).astype(int)).tolist()
    found = [_answer(service.recommend(data.user_ids[row], k), truth(row), data, k) for row in rows]
    return Compared(len(rows), sum(not right for right, _ in found), max(gap for _, gap in found))


def _answer(items: Sequence[dict[str, Any]], expected: Scores, data: Data, k: int) -> tuple[bool, float]:
    """Whether these are the best `k`, in order and with the scores that the framework gives them; and the largest difference."""
    rows = [data.row_of[item["item_id"]] for item in items]
    scores = np.array([item["score"] for item in items])
    if len(rows) != min(k, len(expected)) or len(set(rows)) != len(rows):
        return False, float("inf")
    best = np.sort(expected)[::-1][: len(rows)]
    gaps = np.maximum(np.abs(scores - expected[rows]), np.abs(scores - best))
    right = np.all(gaps <= TIE * np.maximum(1, np.abs(best))) and np.all(np.diff(scores) <= 0)
    return bool(right), float(np.abs(scores - expected[rows]).max())


def by_vectors(vectors: tuple[Scores, Scores], cosine: bool) -> Truth:
    """Dot products of two tables, or cosines, in float64."""
    users, movies = (each / np.linalg.norm(each, axis=1, keepdims=True) if cosine else each for each in vectors)
    return lambda row: movies @ users[row]
