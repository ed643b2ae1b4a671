"""Whether rankings are exact: a float64 brute force that needs little memory, and the comparison with it.

A float32 product picks candidates and float64 decides among them; no item of the true k can be missed. Let u = 2^-24 and g = d u
/ (1 - d u). Each float32 dot product of d terms, in whatever order it is summed and with or without fused operations, is off by
at most m = g |q| |v|max (Higham, Accuracy and Stability of Numerical Algorithms, 3.1, and Cauchy-Schwarz). Where k items have
true scores of b or more, an item that belongs to the true k has at least b as well, so its float32 score is at least b - m: what
is below that is dropped. At first only float32 scores are known; k of them reach t, so k true scores reach b = t - m.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from recoserve.bundle.arrays import Float32Array, Float64Array, Rows

TOLERANCE = 1e-6  # of |q| |v|: what float32 itself can't tell apart
USERS, ITEMS = 512, 1 << 15  # of one chunk: its scores take 64 MiB


@dataclass(frozen=True)
class Verdict:
    """How many rankings of `users` are wrong, the share of the true k in them, and the largest error of a returned score."""

    users: int
    wrong: int
    recall: float
    score_error: float


def best_scores(users: Float32Array, items: Float32Array, k: int, chunk: int = ITEMS) -> Float64Array:
    """The k best true scores of each user, best first: float32 [U, d] and [N, d] -> float64 [U, min(k, N)].

    `chunk` items are scored at a time; it changes the memory needed, not the scores.
    """
    longest = float(np.sqrt(max(np.einsum("ij,ij->i", rows, rows, dtype=np.float64).max() for rows in _chunks(items, ITEMS))))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        # Each thread has users of its own: its product overlaps another's comparisons.
        best = threads.map(lambda rows: _best_of(rows, _chunks(items, chunk), min(k, len(items)), longest), _chunks(users, USERS))
        return np.concatenate(list(best))


def check(users: Float32Array, items: Float32Array, rows: Rows, scores: Float32Array, best: Float64Array) -> Verdict:
    """Compare rankings, rows int64 [U, k] and scores float32 [U, k], with the `best` true scores.

    A ranking is wrong if an item of it is outside the table or comes twice, or if its i-th item's true score is more than
    `TOLERANCE` |q| |v| below the i-th best. A row of -1 stands for a missing item.
    """
    if rows.shape != best.shape:
        return Verdict(len(users), len(users), 0.0, float("inf"))
    known = (rows >= 0) & (rows < len(items))
    safe = np.where(known, rows, 0)
    true = np.empty(best.shape)
    lengths = np.empty(best.shape)
    for start in range(0, len(users), USERS):
        chunk = slice(start, start + USERS)
        vectors, queries = items[safe[chunk]].astype(np.float64), users[chunk].astype(np.float64)
        true[chunk] = np.einsum("ukd,ud->uk", vectors, queries)
        lengths[chunk] = np.linalg.norm(vectors, axis=2) * np.linalg.norm(queries, axis=1, keepdims=True)
    slack = TOLERANCE * lengths
    repeated = (np.diff(np.sort(rows, axis=1), axis=1) == 0).any(axis=1)
    wrong = repeated | (~known | (true < best - slack)).any(axis=1)
    hits = [len(np.unique(row[hit])) for row, hit in zip(rows, known & (true >= best[:, -1:] - slack), strict=True)]
    return Verdict(len(users), int(wrong.sum()), sum(hits) / best.size, float(np.abs(scores - true)[known].max(initial=0.0)))


def _best_of(users: Float32Array, chunks: Iterable[Float32Array], k: int, longest: float) -> Float64Array:
    unit_error = users.shape[1] * 2.0**-24
    margin = unit_error / (1 - unit_error) * np.linalg.norm(users.astype(np.float64), axis=1) * longest
    best = np.full((len(users), k), -np.inf)
    for number, chunk in enumerate(chunks):
        scores = users @ chunk.T
        threshold = best[:, -1]
        if number == 0 and len(chunk) >= k:
            threshold = np.partition(scores, -k, axis=1)[:, -k] - margin
        # Rounding to float32 could raise the floor above an item of the true k; one step down can only let in more candidates.
        floor = np.nextafter((threshold - margin).astype(np.float32), np.float32(-np.inf))
        user, item = np.divmod(np.flatnonzero(scores >= floor[:, None]), len(chunk))
        best = _merged(best, user, np.einsum("ij,ij->i", users[user].astype(np.float64), chunk[item].astype(np.float64)))
    return best


def _merged(best: Float64Array, user: Rows, true: Float64Array) -> Float64Array:
    """The k best of each user's `best` and new `true` scores; `user` ascending, the row in `best` of each new score."""
    k = best.shape[1]
    every_user = np.concatenate([np.repeat(np.arange(len(best)), k), user])
    every = np.concatenate([best.ravel(), true])
    order = np.lexsort((-every, every_user))
    starts = np.searchsorted(every_user[order], np.arange(len(best)))
    merged: Float64Array = every[order][starts[:, None] + np.arange(k)]
    return merged


def _chunks(rows: Float32Array, size: int) -> Iterator[Float32Array]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
