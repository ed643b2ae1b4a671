"""One loaded bundle: rows in, arrays out, for batches of users."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.bundle import contract
from service.bundle.archive import Bundle
from service.engine import ranking
from service.engine.query import Query, Ranked
from service.engine.retrieval import Plain, Retrieval, Screened
from service.engine.session import Session, int64

MOST_ROWS = 1 << 30  # a product of two tables takes any number of users at once


class Model:
    """A checked bundle and its sessions. Immutable: a request keeps the one it started with.

    `most_rows` is how many users are worth ranking in one run: one, where a model runs for every item.
    """

    def __init__(self, bundle: Bundle, sessions: Mapping[str, Session]) -> None:
        self.bundle = bundle
        self.manifest = bundle.manifest
        self.provider = sessions[contract.RECOMMEND].provider
        self._score = sessions[contract.SCORE]
        screened, items = contract.SCREEN in sessions, bundle.manifest.items
        self.has_vectors = bundle.manifest.dim is not None
        self.retrieval = "exact" if screened else "plain"
        plain = Plain(sessions[contract.RECOMMEND], items, together=self.has_vectors)
        self._retrieval: Retrieval = Screened(sessions, items) if screened else plain
        self.most_rows = MOST_ROWS if self.has_vectors else 1

    def rank(self, queries: Sequence[Query]) -> list[Ranked]:
        """Answer each query as if it were alone, in the order asked."""
        whole = [place for place, query in enumerate(queries) if query.candidates is None]
        answers = dict(zip(whole, self._retrieval.top([queries[place] for place in whole]), strict=True))
        for place, query in enumerate(queries):
            if query.candidates is not None:
                answers[place] = self._rank_candidates(query, query.candidates)
        return [answers[place] for place in range(len(queries))]

    def scores(self, user_rows: NDArray[np.int64], item_rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Every given user with every given item: int64 [B] and int64 [M] -> float32 [B, M]."""
        feeds = {contract.USER_ID: int64(user_rows), contract.ITEM_ID: int64(item_rows)}
        (scores,) = self._score.run((contract.SCORE_OUT,), feeds)
        return scores

    def _rank_candidates(self, query: Query, candidates: NDArray[np.int64]) -> Ranked:
        left = np.setdiff1d(candidates, query.excluded)
        if not len(left):
            return Ranked()
        return Ranked(*ranking.best_first(left, self.scores(int64([query.user_row]), left)[0], query.k))
