"""What most users have interacted with: an answer for somebody whom the model doesn't know."""

from functools import cached_property

import numpy as np

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.bundle.interactions import Interactions
from recoserve.search.query import NO_ROWS, Query, Ranking
from recoserve.search.ranking import best_first

AT_ONCE = 1 << 14  # items looked at together, most popular ones first, until k are found


class Popularity:
    """The items by their number of interactions, equals by ascending row."""

    def __init__(self, seen: Interactions, items: int) -> None:
        self._seen = seen
        self._items = items

    def top(self, query: Query) -> Ranking:
        """The k that are allowed; scores are numbers of interactions."""
        if query.candidates is not None:
            rows = query.candidates[query.allows(query.candidates)]
            return Ranking(*best_first(rows, self._counts[rows], query.k))
        rows = NO_ROWS
        for start in range(0, len(self._order), AT_ONCE):
            piece = self._order[start : start + AT_ONCE]
            rows = np.concatenate([rows, piece[query.allows(piece)]])
            if len(rows) >= query.k:
                break
        return Ranking(rows[: query.k], self._counts[rows[: query.k]])

    @cached_property
    def _counts(self) -> Float32Array:
        return np.bincount(self._seen.arrays[1], minlength=self._items).astype(np.float32)

    @cached_property
    def _order(self) -> Rows:
        return np.argsort(-self._counts, kind="stable")
