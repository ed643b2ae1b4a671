"""Ranks items by popularity, for users whom the model doesn't know."""

from functools import cached_property

import numpy as np

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.bundle.interactions import Interactions
from recoserve.search.ordering import best_first
from recoserve.search.query import NO_ROWS, Query, Ranking

SLICE_ROWS = 1 << 14  # of the ordered items, checked at a time


class Popularity:
    """Ranks items by their number of interactions, equal ones by ascending row."""

    def __init__(self, interactions: Interactions, item_count: int) -> None:
        self._interactions = interactions
        self._item_count = item_count

    def top(self, query: Query) -> Ranking:
        """The k most popular items that the query allows; scores are numbers of interactions."""
        if query.candidates is not None:
            rows = query.candidates[query.allows(query.candidates)]
            return Ranking(*best_first(rows, self._counts[rows], query.k))
        rows = NO_ROWS
        # From the most popular on: most queries find their k items in the first slice, and needn't check all items.
        for start in range(0, len(self._order), SLICE_ROWS):
            candidates = self._order[start : start + SLICE_ROWS]
            rows = np.concatenate([rows, candidates[query.allows(candidates)]])
            if len(rows) >= query.k:
                break
        return Ranking(rows[: query.k], self._counts[rows[: query.k]])

    @cached_property
    def _counts(self) -> Float32Array:
        return np.bincount(self._interactions.arrays[1], minlength=self._item_count).astype(np.float32)

    @cached_property
    def _order(self) -> Rows:
        return np.argsort(-self._counts, kind="stable")
