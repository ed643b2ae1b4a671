"""A loaded bundle that ranks and scores: rows in, arrays out, for batches of queries."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle import contract
from recoserve.bundle.archive import Bundle
from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.search.bounded_search import BoundedSearch
from recoserve.search.diversity import diverse_positions, pool_size
from recoserve.search.exact_search import ExactSearch
from recoserve.search.full_scan import FullScan
from recoserve.search.kernel.index import Index
from recoserve.search.kernel_search import KernelSearch
from recoserve.search.mask import Mask
from recoserve.search.mask_cache import MaskCache
from recoserve.search.ordering import best_positions
from recoserve.search.popularity import Popularity
from recoserve.search.query import NO_ROWS, AnyQuery, NeighbourQuery, Query, Ranking
from recoserve.search.session import Session, int64
from recoserve.search.vectors import VectorTables

UNLIMITED_ROWS = 1 << 30
SELECTIVE_SHARE, SELECTIVE_ITEMS = 32, 1024  # of so many items one, or so many in all: scored faster than searched for
SCORED_AT_ONCE = 1 << 16  # items


class Model:
    """A checked bundle and its sessions. Immutable, so that a request sees one model from its start to its end.

    `max_rows_per_run` is how many users are worth ranking in one run: 1 where a model runs for every pair of a user and an item.
    `vectors` is None where the score is no dot product. `retrieval` is `exact` by bounds, or `plain` by a full scan; the rankings
    are the same.
    """

    def __init__(
        self,
        bundle: Bundle,
        sessions: Mapping[str, Session],
        vectors: VectorTables | None = None,
        index: Index | None = None,
    ) -> None:
        self.bundle = bundle
        self.manifest = bundle.manifest
        self.provider = sessions[contract.RECOMMEND].provider
        self.vectors = vectors
        self._sessions = sessions
        self._is_dot_product = bundle.manifest.dim is not None
        self.max_rows_per_run = UNLIMITED_ROWS if self._is_dot_product else 1
        self.retrieval = "exact" if index or contract.SCREEN in sessions else "plain"
        items = bundle.manifest.items
        self._search: ExactSearch = FullScan(sessions, items, batched=self._is_dot_product)
        if index and vectors:
            self._search = KernelSearch(index, vectors.users.vectors, items, sessions.get(contract.FINISH))
        elif contract.SCREEN in sessions:
            self._search = BoundedSearch(sessions, items)
        self._masks = MaskCache(bundle.columns, items)
        self._popularity = Popularity(bundle.interactions, items) if bundle.interactions else None

    @property
    def accepts_vectors(self) -> bool:
        """Whether a query may have a vector in place of a user row. Bundles from before there were graphs for that don't."""
        return contract.RECOMMEND_QUERY in self._sessions

    def rank(self, queries: Sequence[AnyQuery]) -> list[Ranking]:
        """One ranking for each query, in their order: the same, to the last bit, as if the query had come alone."""
        plain = [query for query in queries if _is_plain(query)]
        if len(plain) == len(queries):
            return self._search.top(plain)
        prepared = [self._prepared(query) for query in queries]
        to_search = [query for query in prepared if _ranks_all_items(query)]
        searched = iter(self._search.top(to_search) if to_search else ())
        rankings = [next(searched) if _ranks_all_items(query) else self._rank_solo(query) for query in prepared]
        return [self._diversified(query, ranking) for query, ranking in zip(queries, rankings, strict=True)]

    def scores(self, user_rows: Rows, item_rows: Rows) -> Float32Array:
        """The score of every user with every item: int64 [B] and int64 [M] -> float32 [B, M]."""
        return self._products_and_scores(contract.SCORE, {contract.USER_ID: int64(user_rows)}, item_rows)[1]

    def _products_and_scores(
        self, role: str, feeds: Mapping[str, NDArray[Any]], item_rows: Rows
    ) -> tuple[Float32Array, Float32Array]:
        """The products that rank the items, and their scores, float32 [B, M] each.

        They differ where a score has a monotone tail, whose rounding makes scores equal that rank by unequal products.
        """
        session = self._sessions[role]
        outputs = [contract.SCORE_OUT, *({contract.PRODUCT} & session.outputs)]
        # Some at a time: a model that runs for every pair may hold as much for each as a layer is wide.
        slices = (item_rows[start : start + SCORED_AT_ONCE] for start in range(0, len(item_rows), SCORED_AT_ONCE))
        runs = [session.run(outputs, {**feeds, contract.ITEM_ID: int64(rows)}) for rows in slices]
        scores, *products = (np.concatenate(arrays, axis=1) for arrays in zip(*runs, strict=True))
        return (products or [scores])[0], scores

    def _prepared(self, query: AnyQuery) -> AnyQuery:
        """The query to search for: with its conditions as a mask, or as candidates where few items pass; for a diverse ranking with
        the k of the pool that it is chosen from."""
        if isinstance(query, NeighbourQuery) or not (query.conditions or query.diversity):
            return query
        mask = self._masks.mask(query.conditions) if query.conditions else None
        k = pool_size(query.k) if query.diversity else query.k
        if mask and query.candidates is None and self._is_selective(mask, k):
            return query._replace(k=k, candidates=mask.rows())
        return query._replace(k=k, mask=mask)

    def _is_selective(self, mask: Mask, k: int) -> bool:
        """Whether to score all items that pass is cheaper than to search among them: without a dot product it always is."""
        return not self._is_dot_product or mask.count <= max(self.manifest.items // SELECTIVE_SHARE, SELECTIVE_ITEMS, k)

    def _rank_solo(self, query: AnyQuery) -> Ranking:
        """The ranking of a query that needs no search of all items by score."""
        if isinstance(query, NeighbourQuery):
            assert self.vectors  # noqa: S101  # requests for neighbours are refused for models without vectors
            mask = self._masks.mask(query.conditions) if query.conditions else None
            return (self.vectors.users if query.side == "user" else self.vectors.items).nearest(query, mask)
        if query.user_row is None and query.vector is None:
            assert self._popularity  # noqa: S101  # a fallback is refused for models without interactions
            return self._popularity.top(query)
        return self._rank_candidates(query)

    def _rank_candidates(self, query: Query) -> Ranking:
        rows = query.candidates if query.candidates is not None else NO_ROWS
        if query.mask or len(query.excluded):
            rows = rows[query.allows(rows)]
        if not len(rows):
            return Ranking()
        if query.vector is not None:
            products, scores = self._products_and_scores(contract.SCORE_QUERY, {contract.QUERY: query.vector[None]}, rows)
        else:
            user_rows = np.array([query.user_row], np.int64)
            products, scores = self._products_and_scores(contract.SCORE, {contract.USER_ID: user_rows}, rows)
        best = best_positions(rows, products[0], query.k)
        return Ranking(rows[best], scores[0][best])

    def _diversified(self, query: AnyQuery, pool: Ranking) -> Ranking:
        """The ranking chosen from its pool, where the query asks for diversity; else the pool itself."""
        if isinstance(query, NeighbourQuery) or not query.diversity:
            return pool
        assert self.vectors  # noqa: S101  # diversity is refused for models without vectors
        vectors = self.vectors.items.vectors[pool.item_rows]
        chosen = diverse_positions(pool.scores, vectors, query.k, query.diversity)
        return Ranking(pool.item_rows[chosen], pool.scores[chosen], pool.path)


def _is_plain(query: AnyQuery) -> TypeGuard[Query]:
    """Whether a query is ready to be searched for as it is: most are, and a batch of such takes the short path."""
    return _ranks_all_items(query) and not (query.conditions or query.diversity)


def _ranks_all_items(query: AnyQuery) -> TypeGuard[Query]:
    """Whether a query ranks all items by score: for a user or a vector, without candidates."""
    return isinstance(query, Query) and query.candidates is None and (query.user_row is not None or query.vector is not None)
