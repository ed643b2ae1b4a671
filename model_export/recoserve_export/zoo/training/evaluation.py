"""Measures how well rankings predict the held-out items, as means over the users who have some.

T are the user's held-out items, R the k best items without those that the user interacted with in training, and hit(i) is 1 if the
i-th item of R, counted from 1, is in T, and else 0:

    recall@k   = Σ hit(i) / min(k, |T|)
    NDCG@k     = Σ hit(i)/log2(i + 1)  /  Σ over i ≤ min(k, |T|) of 1/log2(i + 1)
    coverage@k = number of items in at least one user's R / number of all items

Recall is normalised by the most hits that k places can hold (Liang et al., 2018), so that 1 can be reached. NDCG is that of binary
relevance (Järvelin & Kekäläinen, 2002).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve_export.graph.dot_score import unit_rows
from recoserve_export.zoo.data.dataset import InteractionPairs, Split

BATCH_SCORES = 1 << 22  # in memory at a time: 16 MiB of float32


@dataclass(frozen=True)
class Metrics:
    """Means over users, each between 0 and 1, and the k that they belong to."""

    k: int
    recall: float
    ndcg: float
    coverage: float

    def named(self) -> dict[str, float]:
        """The figures by their names in the manifest, such as `recall@10`; rounded to six digits."""
        values = {"recall": self.recall, "ndcg": self.ndcg, "coverage": self.coverage}
        return {f"{name}@{self.k}": round(value, 6) for name, value in values.items()}


def evaluate_tables(users: Float32Array, items: Float32Array, split: Split, k: int, similarity: str = "cosine") -> Metrics:
    """Metrics of a model that is two tables: float32 [U, d] and [N, d], joined by `cosine` or `dot`."""
    if similarity == "cosine":
        users, items = (unit_rows(table.astype(np.float64)).astype(np.float32) for table in (users, items))
    return evaluate(lambda rows: users[rows] @ items.T, split, len(items), k)


def evaluate_popularity(split: Split, item_count: int, k: int) -> Metrics:
    """Metrics of the baseline that recommends to everyone the items with the most interactions in training."""
    popularity = np.bincount(split.train.item, minlength=item_count).astype(np.float32)
    return evaluate(lambda rows: np.broadcast_to(popularity, (len(rows), item_count)), split, item_count, k)


def evaluate(scores_of: Callable[[Rows], Float32Array], split: Split, item_count: int, k: int) -> Metrics:
    """Metrics of any scorer: `scores_of` gives the scores [B, item_count] of user rows int64 [B]; equal scores rank by row."""
    train, held_out = _ItemsByUser(split.train), _ItemsByUser(split.held_out)
    users = np.unique(split.held_out.user)
    is_recommended = np.zeros(item_count, bool)
    recall, ndcg = np.zeros(len(users)), np.zeros(len(users))
    for index, user, scores in _scores_by_user(scores_of, users, max(1, BATCH_SCORES // item_count)):
        best = top(scores, train.of_user(user), k)
        held_out_items = held_out.of_user(user)
        hits = np.isin(best, held_out_items)
        recall[index] = hits.sum() / min(k, len(held_out_items))
        ndcg[index] = (hits * _discounts(len(best))).sum() / _discounts(min(k, len(held_out_items))).sum()
        is_recommended[best] = True
    return Metrics(k, float(recall.mean()), float(ndcg.mean()), float(is_recommended.mean()))


def top(scores: Float32Array, excluded: Rows, k: int) -> Rows:
    """The rows of the k items with the highest of `scores` [N], best first, equal scores by row; without the rows in `excluded`."""
    allowed_scores = scores.astype(np.float32)
    allowed_scores[excluded] = -np.inf
    k = min(k, int(np.isfinite(allowed_scores).sum()))
    if not k:
        return np.empty(0, np.int64)
    threshold = np.partition(allowed_scores, len(scores) - k)[len(scores) - k]
    best = np.flatnonzero(allowed_scores >= threshold)  # more than k, if several equal the threshold; sorted by row
    return best[np.argsort(-allowed_scores[best], kind="stable")][:k]


def _scores_by_user(scores_of: Callable[[Rows], Float32Array], users: Rows, size: int) -> Iterator[tuple[int, int, Float32Array]]:
    """For each user: its index in `users`, its row, and its scores [N]; `size` users are scored at a time."""
    for start in range(0, len(users), size):
        rows = users[start : start + size]
        for offset, scores in enumerate(scores_of(rows)):
            yield start + offset, int(rows[offset]), scores


def _discounts(count: int) -> NDArray[np.float64]:
    """1/log2(i + 1) for i = 1 … count."""
    return 1 / np.log2(np.arange(2, count + 2))


class _ItemsByUser:
    """The item rows of each user's pairs."""

    def __init__(self, pairs: InteractionPairs) -> None:
        order = np.argsort(pairs.user, kind="stable")
        self._users, self._items = pairs.user[order], pairs.item[order]

    def of_user(self, user: int) -> Rows:
        start, stop = np.searchsorted(self._users, [user, user + 1])
        return self._items[start:stop]
