"""One loaded bundle: rows in, arrays out, for batches of queries."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle import contract
from recoserve.bundle.archive import Bundle
from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.search import ranking
from recoserve.search.bounded_search import BoundedSearch, CatalogueSearch, FullScan
from recoserve.search.filters import Mask, Masks
from recoserve.search.kernel.index import Index
from recoserve.search.kernel_search import KernelSearch
from recoserve.search.popularity import Popularity
from recoserve.search.query import NO_ROWS, AnyQuery, NeighbourQuery, Query, Ranking
from recoserve.search.session import Session, int64
from recoserve.search.vectors import Vectors

MOST_ROWS = 1 << 30  # a product of two tables takes any number of users at once
SELECTIVE = 32  # where no more than one of so many items passes, what passes is scored and nothing is searched
FEW = 1024  # as many are always scored one by one
SCORED_AT_ONCE = 1 << 16  # candidates


class Model:
    """A checked bundle and its sessions. Immutable: a request keeps the one it started with.

    `most_rows` is how many users are worth ranking in one run: one, where a model runs for every item. `vectors` is None where the
    score is no dot product; `index` where the kernel searches.
    """

    def __init__(
        self,
        bundle: Bundle,
        sessions: Mapping[str, Session],
        vectors: Vectors | None = None,
        index: Index | None = None,
    ) -> None:
        self.bundle = bundle
        self.manifest = bundle.manifest
        self.provider = sessions[contract.RECOMMEND].provider
        self.vectors = vectors
        self._sessions = sessions
        items = bundle.manifest.items
        self.has_vectors = bundle.manifest.dim is not None
        self.retrieval = "exact" if index or contract.SCREEN in sessions else "plain"
        self._retrieval: CatalogueSearch = FullScan(sessions, items, together=self.has_vectors)
        if index and vectors:
            self._retrieval = KernelSearch(index, vectors.users.rows, items, sessions.get(contract.FINISH))
        elif contract.SCREEN in sessions:
            self._retrieval = BoundedSearch(sessions, items)
        self.most_rows = MOST_ROWS if self.has_vectors else 1
        self._masks = Masks(bundle.columns, items)
        self._popularity = Popularity(bundle.interactions, items) if bundle.interactions else None

    @property
    def takes_queries(self) -> bool:
        """Whether a vector can be asked about in place of a user: every bundle with vectors has the graphs for it today."""
        return contract.RECOMMEND_QUERY in self._sessions

    def rank(self, queries: Sequence[AnyQuery]) -> list[Ranking]:
        """Answer each query as if it were alone, in the order asked."""
        plain = [query for query in queries if _plain(query)]
        if len(plain) == len(queries):
            return self._retrieval.top(plain)
        searches = [self._search(query) for query in queries]
        whole = [search for search in searches if _whole(search)]
        ranked = self._retrieval.top(whole)
        if len(whole) < len(searches):
            found = iter(ranked)
            ranked = [next(found) if _whole(search) else self._apart(search) for search in searches]
        return [self._arranged(query, one) for query, one in zip(queries, ranked, strict=True)]

    def scores(self, user_rows: Rows, item_rows: Rows) -> Float32Array:
        """Every given user with every given item: int64 [B] and int64 [M] -> float32 [B, M]."""
        return self._scored(contract.SCORE, {contract.USER_ID: int64(user_rows)}, item_rows)[1]

    def _scored(self, role: str, asked: Mapping[str, NDArray[Any]], item_rows: Rows) -> tuple[Float32Array, Float32Array]:
        """What ranks the items, and their scores, which a tail may have made equal; float32 [B, M] each.

        In pieces: a model may hold as much for each item as a layer is wide.
        """
        session = self._sessions[role]
        names = [contract.SCORE_OUT, *({contract.PRODUCT} & session.outputs)]
        pieces = (item_rows[at : at + SCORED_AT_ONCE] for at in range(0, len(item_rows), SCORED_AT_ONCE))
        found = [session.run(names, {**asked, contract.ITEM_ID: int64(piece)}) for piece in pieces]
        scores, *products = (np.concatenate(side, axis=1) for side in zip(*found, strict=True))
        return (products or [scores])[0], scores

    def _search(self, query: AnyQuery) -> AnyQuery:
        """What to look for: with the mask of its conditions, as many items as a diverse answer is chosen from, and selective
        filters as candidates."""
        if isinstance(query, NeighbourQuery) or not (query.conditions or query.diversity):
            return query
        mask = self._masks.of(query.conditions) if query.conditions else None
        k = ranking.pool_size(query.k) if query.diversity else query.k
        if mask and query.candidates is None and self._selective(mask, k):
            return query._replace(k=k, candidates=mask.rows())
        return query._replace(k=k, mask=mask)

    def _selective(self, mask: Mask, k: int) -> bool:
        """Whether to score what passes is cheaper than to search for it."""
        return not self.has_vectors or mask.count <= max(self.manifest.items // SELECTIVE, FEW, k)

    def _apart(self, search: AnyQuery) -> Ranking:
        """What needs no search of the whole catalogue, or one of its own."""
        if isinstance(search, NeighbourQuery):
            return self._nearest(search)
        if search.user_row is None and search.vector is None:
            return self._popular(search)
        rows = search.candidates if search.candidates is not None else NO_ROWS
        left = rows[search.allows(rows)]
        if not len(left):
            return Ranking()
        if search.vector is not None:
            products, scores = self._scored(contract.SCORE_QUERY, {contract.QUERY: search.vector[None]}, left)
        else:
            products, scores = self._scored(contract.SCORE, {contract.USER_ID: np.array([search.user_row], np.int64)}, left)
        best = ranking.best_places(left, products[0], search.k)
        return Ranking(left[best], scores[0][best])

    def _nearest(self, query: NeighbourQuery) -> Ranking:
        assert self.vectors  # noqa: S101  # the border asks no other model for neighbours
        mask = self._masks.of(query.conditions) if query.conditions else None
        return (self.vectors.users if query.side == "user" else self.vectors.items).nearest(query, mask)

    def _popular(self, query: Query) -> Ranking:
        assert self._popularity  # noqa: S101  # nor one without interactions for what is popular
        return self._popularity.top(query)

    def _arranged(self, query: AnyQuery, found: Ranking) -> Ranking:
        """A pool made diverse, where that was asked for."""
        if isinstance(query, NeighbourQuery) or not query.diversity:
            return found
        assert self.vectors  # noqa: S101  # see above
        vectors = self.vectors.items.rows[found.item_rows]
        chosen = ranking.diverse(found.scores, vectors, query.k, query.diversity)
        return Ranking(found.item_rows[chosen], found.scores[chosen], found.path)


def _plain(query: AnyQuery) -> TypeGuard[Query]:
    """Whether nothing is wanted of the answer but the whole catalogue's best: most requests, whose batches take the short way."""
    return _whole(query) and not (query.conditions or query.diversity)


def _whole(search: AnyQuery) -> TypeGuard[Query]:
    """Whether the whole catalogue is to be searched."""
    return isinstance(search, Query) and search.candidates is None and (search.user_row is not None or search.vector is not None)
