"""What most users have interacted with: an answer for somebody whom the model doesn't know."""

from functools import cached_property

import numpy as np

from service.bundle.catalogue import SeenPairs
from service.engine.query import Floats, Query, Ranked, Rows


class Popularity:
    """The items by their number of interactions, equals by ascending row."""

    def __init__(self, seen: SeenPairs, items: int) -> None:
        self._seen = seen
        self._items = items

    def top(self, query: Query) -> Ranked:
        """The k that are allowed; scores are numbers of interactions."""
        order = self._order
        allowed = query.allows(order)
        if query.candidates is not None:
            allowed &= np.isin(order, query.candidates)
        rows = order[allowed][: query.k]
        return Ranked(rows, self._counts[rows])

    @cached_property
    def _counts(self) -> Floats:
        return np.bincount(self._seen.arrays[1], minlength=self._items).astype(np.float32)

    @cached_property
    def _order(self) -> Rows:
        return np.argsort(-self._counts, kind="stable")
