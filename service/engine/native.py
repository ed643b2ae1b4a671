"""The k best of the whole catalogue by the compiled kernel: the same proof as `retrieval.Screened`, in one call.

Items are scored in float32 in the order of their bounds, until no other can be one of the k. What may not be in an answer never
counts toward the k.
"""

from collections.abc import Sequence

import numpy as np

from service.bundle import contract
from service.engine.query import Floats, Query, Ranked
from service.engine.retrieval import FULL_SCAN, FULL_SCAN_SHARE, PROVED, WIDENED
from service.engine.session import Session
from service.kernel.catalogue import Catalogue, Found, Wanted

WHOLE = 16  # the runtime takes what is left behind whole vectors another way, which may round otherwise
FEW_ITEMS, PER_WANTED = 512, 16  # scored for an answer that asked for no more than the usual


class Native:
    """Ranks queries through a `catalogue`; `users` float32 [U, d] has their vectors, `finish` the tail of a score that has one."""

    def __init__(self, catalogue: Catalogue, users: Floats, items: int, finish: Session | None = None) -> None:
        self._catalogue = catalogue
        self._users = np.asarray(users)
        self._items = items
        self._finish = finish

    def top(self, queries: Sequence[Query]) -> list[Ranked]:
        wanted = [
            Wanted(self._vector(query), query.k, query.excluded, query.mask.bits if query.mask else None) for query in queries
        ]
        found = self._catalogue.search(wanted) if wanted else []
        scores = self._scores(found)
        return [Ranked(one.rows, score, self._path(query, one)) for query, one, score in zip(queries, found, scores, strict=True)]

    def _vector(self, query: Query) -> Floats:
        if isinstance(query.by, np.ndarray):
            return query.by
        row: Floats = self._users[query.by]
        return row

    def _scores(self, found: Sequence[Found]) -> Sequence[Floats]:
        if self._finish is None or not found:
            return [one.products for one in found]
        ends = np.cumsum([len(one.products) for one in found])
        products = np.zeros(-(-ends[-1] // WHOLE) * WHOLE, np.float32)
        np.concatenate([one.products for one in found], out=products[: ends[-1]])
        (scores,) = self._finish.run((contract.SCORE_OUT,), {contract.PRODUCT: products})
        return np.split(scores[: ends[-1]], ends[:-1])

    def _path(self, query: Query, found: Found) -> str:
        """Which way out it was, by how many items were scored; a small catalogue may well be scored whole."""
        if found.scored * FULL_SCAN_SHARE > self._items:
            return FULL_SCAN
        return PROVED if found.scored <= max(FEW_ITEMS, PER_WANTED * query.k) else WIDENED
