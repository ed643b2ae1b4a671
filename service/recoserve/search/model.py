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

UNLIMITED_ROWS = 1 << 30  # larger than any batch
# A filter is selective if at most 1/32 of the items, or at most 1024 items, pass: scoring these is faster than searching.
SELECTIVE_SHARE, SELECTIVE_ITEMS = 32, 1024
ITEMS_PER_SCORE_RUN = 1 << 16


class Model:
    """A checked bundle and its sessions. Its rankings never change, so a request sees one model from its start to its end.

    `vectors` is None if the score is no dot product, or if an old bundle's graph doesn't name its tables. `index` has the items as
    the kernel reads them, and comes with `vectors` only; None if they are ranked without the kernel. `max_rows_per_run` is the
    largest number of queries worth ranking in one run: 1 if the model must be computed for every pair of a user and an item.
    `retrieval` is `exact` if the search rules items out by bounds and `plain` if it scores them all. Users know these two names, so
    they stay; both searches are exact.
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
        item_count = bundle.manifest.items
        self._search: ExactSearch = FullScan(sessions, item_count, batched=self._is_dot_product)
        if index and vectors:
            self._search = KernelSearch(index, vectors.users.vectors, item_count, sessions.get(contract.FINISH))
        elif contract.SCREEN in sessions:
            self._search = BoundedSearch(sessions, item_count)
        self._masks = MaskCache(bundle.columns, item_count)
        self._popularity = Popularity(bundle.interactions, item_count) if bundle.interactions else None

    @property
    def accepts_vectors(self) -> bool:
        """Whether a query may have a vector instead of a user row. False if the score is no dot product, and for old bundles."""
        return contract.RECOMMEND_QUERY in self._sessions

    def rank(self, queries: Sequence[AnyQuery]) -> list[Ranking]:
        """One ranking for each query, in their order; bit for bit the same whatever other queries are in the batch."""
        ready = [query for query in queries if _needs_no_preparation(query)]
        if len(ready) == len(queries):
            return self._search.top(ready)
        prepared_queries = [self._prepare(query) for query in queries]
        to_search = [query for query in prepared_queries if _ranks_all_items(query)]
        from_search = iter(self._search.top(to_search) if to_search else ())
        rankings = [
            next(from_search) if _ranks_all_items(query) else self._rank_without_search(query) for query in prepared_queries
        ]
        return [self._diversify(query, ranking) for query, ranking in zip(queries, rankings, strict=True)]

    def scores(self, user_rows: Rows, item_rows: Rows) -> Float32Array:
        """The score of every user with every item: int64 [B] and int64 [M] -> float32 [B, M]."""
        return self._products_and_scores(contract.SCORE, {contract.USER_ID: int64(user_rows)}, item_rows)[1]

    def _products_and_scores(
        self, role: str, feeds: Mapping[str, NDArray[Any]], item_rows: Rows
    ) -> tuple[Float32Array, Float32Array]:
        """The products that rank the items, and their scores, float32 [B, M] each.

        They differ if the model has a monotone tail: its rounding may map different products to the same score, and items are
        ranked by the products. `feeds` are the graph's inputs except for the item rows.
        """
        session = self._sessions[role]
        outputs = [contract.SCORE_OUT, *({contract.PRODUCT} & session.outputs)]
        # In slices, since a pair scorer may need memory for a whole layer per item.
        slices = (item_rows[start : start + ITEMS_PER_SCORE_RUN] for start in range(0, len(item_rows), ITEMS_PER_SCORE_RUN))
        runs = [session.run(outputs, {**feeds, contract.ITEM_ID: int64(rows)}) for rows in slices]
        scores, *products = (np.concatenate(arrays, axis=1) for arrays in zip(*runs, strict=True))
        return (products or [scores])[0], scores

    def _prepare(self, query: AnyQuery) -> AnyQuery:
        """The query as it is searched: its conditions become a mask, or candidates if few items pass; with diversity, `k` becomes
        the size of the pool that the ranking is chosen from."""
        if isinstance(query, NeighbourQuery) or not (query.conditions or query.diversity):
            return query
        mask = self._masks.mask(query.conditions) if query.conditions else None
        k = pool_size(query.k) if query.diversity else query.k
        if mask and query.candidates is None and self._is_selective(mask, k):
            return query._replace(k=k, candidates=mask.rows())
        return query._replace(k=k, mask=mask)

    def _is_selective(self, mask: Mask, k: int) -> bool:
        """Whether scoring all items that pass costs less than searching among them. True if the score is no dot product."""
        return not self._is_dot_product or mask.count <= max(self.manifest.items // SELECTIVE_SHARE, SELECTIVE_ITEMS, k)

    def _rank_without_search(self, query: AnyQuery) -> Ranking:
        """The ranking of a neighbour query, of a popularity fallback or of the query's own candidates."""
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

    def _diversify(self, query: AnyQuery, pool: Ranking) -> Ranking:
        """A diverse ranking of k items of the pool; without diversity in the query, the pool itself."""
        if isinstance(query, NeighbourQuery) or not query.diversity:
            return pool
        assert self.vectors  # noqa: S101  # diversity is refused for models without vectors
        vectors = self.vectors.items.vectors[pool.item_rows]
        positions = diverse_positions(pool.scores, vectors, query.k, query.diversity)
        return Ranking(pool.item_rows[positions], pool.scores[positions], pool.path)


def _needs_no_preparation(query: AnyQuery) -> TypeGuard[Query]:
    """Whether a query ranks all items without a filter or diversity. Most do."""
    return _ranks_all_items(query) and not (query.conditions or query.diversity)


def _ranks_all_items(query: AnyQuery) -> TypeGuard[Query]:
    """Whether a query is for the best of all items by score: it has a user row or a vector, and no candidates."""
    return isinstance(query, Query) and query.candidates is None and (query.user_row is not None or query.vector is not None)
