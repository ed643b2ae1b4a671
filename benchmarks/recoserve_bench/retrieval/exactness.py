"""Whether answers are exact: against a float64 brute force that needs little memory.

A float32 product picks candidates, float64 decides among them, and nothing can be missed. Let u = 2^-24 and g = d u / (1 - d u).
Each float32 dot product of d terms, in whatever order it is summed and with or without fused operations, is off by at most
m = g |q| |v|max (Higham, Accuracy and Stability of Numerical Algorithms, 3.1, and Cauchy-Schwarz). Where k items have true scores
of b or more, an item that belongs to the true k has at least b as well, so its float32 score is at least b - m: what is below
that is dropped. At first only float32 scores are known; k of them reach t, so k true scores reach b = t - m.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

TOLERANCE = 1e-6  # of |q| |v|: what float32 itself can't tell apart
USERS, ITEMS = 512, 1 << 15  # one chunk of scores: 64 MiB


@dataclass(frozen=True)
class Verdict:
    """How many of `users` answers are wrong; the share of the true k found; the largest error of a score told."""

    users: int
    wrong: int
    recall: float
    score_error: float


def best_scores(users: Floats, items: Floats, k: int, chunk: int = ITEMS) -> Doubles:
    """The k best true scores of each user, best first: float32 [U, d] and [N, d] -> float64 [U, min(k, N)].

    `chunk` items are looked at at a time; it changes the memory taken, not the answer.
    """
    longest = float(np.sqrt(max(np.einsum("ij,ij->i", part, part, dtype=np.float64).max() for part in _chunks(items, ITEMS))))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        # One thread's product and another's comparisons overlap; a block is its own unit of work.
        found = threads.map(
            lambda block: _best_of_block(block, _chunks(items, chunk), min(k, len(items)), longest), _chunks(users, USERS)
        )
        return np.concatenate(list(found))


def check(users: Floats, items: Floats, rows: Rows, scores: Floats, best: Doubles) -> Verdict:
    """Hold answers, int64 [U, k] and float32 [U, k], against the `best` true scores.

    An answer is wrong if an item of it is outside the table or stands in it twice, or if its i-th item's true score is more than
    `TOLERANCE` |q| |v| below the i-th best. A row of -1 stands for an item that is missing.
    """
    if rows.shape != best.shape:
        return Verdict(len(users), len(users), 0.0, float("inf"))
    known = (rows >= 0) & (rows < len(items))
    safe = np.where(known, rows, 0)
    true = np.empty(best.shape)
    lengths = np.empty(best.shape)
    for start in range(0, len(users), USERS):
        part = slice(start, start + USERS)
        vectors, queries = items[safe[part]].astype(np.float64), users[part].astype(np.float64)
        true[part] = np.einsum("ukd,ud->uk", vectors, queries)
        lengths[part] = np.linalg.norm(vectors, axis=2) * np.linalg.norm(queries, axis=1, keepdims=True)
    slack = TOLERANCE * lengths
    repeated = (np.diff(np.sort(rows, axis=1), axis=1) == 0).any(axis=1)
    wrong = repeated | (~known | (true < best - slack)).any(axis=1)
    hits = [len(np.unique(row[hit])) for row, hit in zip(rows, known & (true >= best[:, -1:] - slack), strict=True)]
    return Verdict(len(users), int(wrong.sum()), sum(hits) / best.size, float(np.abs(scores - true)[known].max(initial=0.0)))


def _best_of_block(users: Floats, chunks: Iterable[Floats], k: int, longest: float) -> Doubles:
    unit_error = users.shape[1] * 2.0**-24
    margin = unit_error / (1 - unit_error) * np.linalg.norm(users.astype(np.float64), axis=1) * longest
    best = np.full((len(users), k), -np.inf)
    for number, chunk in enumerate(chunks):
        scores = users @ chunk.T
        reached = best[:, -1]
        if number == 0 and len(chunk) >= k:
            reached = np.partition(scores, -k, axis=1)[:, -k] - margin
        # Rounded to float32 the floor could rise; one step down keeps the comparison on the safe side.
        floor = np.nextafter((reached - margin).astype(np.float32), np.float32(-np.inf))
        user, item = np.divmod(np.flatnonzero(scores >= floor[:, None]), len(chunk))
        best = _merged(best, user, np.einsum("ij,ij->i", users[user].astype(np.float64), chunk[item].astype(np.float64)))
    return best


def _merged(best: Doubles, user: Rows, true: Doubles) -> Doubles:
    """The k best of what was known and what is new; `user` ascending, one entry for each new score."""
    k = best.shape[1]
    every_user = np.concatenate([np.repeat(np.arange(len(best)), k), user])
    every = np.concatenate([best.ravel(), true])
    order = np.lexsort((-every, every_user))
    starts = np.searchsorted(every_user[order], np.arange(len(best)))
    merged: Doubles = every[order][starts[:, None] + np.arange(k)]
    return merged


def _chunks(rows: Floats, size: int) -> Iterator[Floats]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
