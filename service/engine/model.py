"""One loaded bundle: rows in, arrays out, for batches of users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.bundle import contract
from service.bundle.archive import Bundle
from service.engine import ranking
from service.engine.session import Session, int64
from service.metrics import RETRIEVAL_ROWS

NO_ROWS: NDArray[np.int64] = np.empty(0, np.int64)


@dataclass(frozen=True)
class Query:
    """What one user is to be ranked: `k` of all items, or of `candidates`, without `excluded` (both distinct rows)."""

    user_row: int
    k: int
    excluded: NDArray[np.int64] = field(default_factory=lambda: NO_ROWS)
    candidates: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Ranked:
    """One user's answer, best first, equal scores by ascending row: `item_rows` int64 [n], `scores` float32 [n], n <= k."""

    item_rows: NDArray[np.int64]
    scores: NDArray[np.float32]


class Model:
    """A checked bundle and its sessions. Immutable: a request keeps the one it started with."""

    def __init__(self, bundle: Bundle, sessions: Mapping[str, Session]) -> None:
        self.bundle = bundle
        self.manifest = bundle.manifest
        self.provider = sessions[contract.RECOMMEND].provider
        self._recommend = sessions[contract.RECOMMEND]
        self._score = sessions[contract.SCORE]

    def rank(self, queries: Sequence[Query]) -> list[Ranked]:
        """Answer each query as if it were alone, in the order asked."""
        whole = [place for place, query in enumerate(queries) if query.candidates is None]
        answers = dict(zip(whole, self._rank_catalogue([queries[place] for place in whole]), strict=True))
        for place, query in enumerate(queries):
            if query.candidates is not None:
                answers[place] = self._rank_candidates(query, query.candidates)
        return [answers[place] for place in range(len(queries))]

    def top(self, user_rows: NDArray[np.int64], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k best of the whole catalogue: user rows int64 [B] -> item rows int64 and scores float32, both [B, min(k, N)]."""
        feeds = {contract.USER_ID: int64(user_rows), contract.K: int64([k])}
        rows, scores = self._recommend.run((contract.ITEM_ID, contract.SCORE_OUT), feeds)
        return rows, scores

    def scores(self, user_rows: NDArray[np.int64], item_rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Every given user with every given item: int64 [B] and int64 [M] -> float32 [B, M]."""
        feeds = {contract.USER_ID: int64(user_rows), contract.ITEM_ID: int64(item_rows)}
        (scores,) = self._score.run((contract.SCORE_OUT,), feeds)
        return scores

    def _rank_catalogue(self, queries: Sequence[Query]) -> list[Ranked]:
        """One scan for all of them, deep enough that what is excluded leaves k behind."""
        if not queries:
            return []
        depth = max(query.k + len(query.excluded) for query in queries)
        rows, scores = self.top(int64([query.user_row for query in queries]), min(depth, self.manifest.items))
        RETRIEVAL_ROWS.labels("full_scan").inc(len(queries))
        found = zip(queries, rows, scores, strict=True)
        return [Ranked(*ranking.without(row, score, query.excluded, query.k)) for query, row, score in found]

    def _rank_candidates(self, query: Query, candidates: NDArray[np.int64]) -> Ranked:
        left = np.setdiff1d(candidates, query.excluded)
        if not len(left):
            return Ranked(NO_ROWS, np.empty(0, np.float32))
        return Ranked(*ranking.best_first(left, self.scores(int64([query.user_row]), left)[0], query.k))
