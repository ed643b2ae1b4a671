"""The k best of the whole catalogue, without what is excluded: exactly, whichever way they are found.

`Plain` scans every item in float32. `Screened` scans an int8 copy for upper bounds of blocks of items, scores the most promising
blocks in float32, and returns an answer only with a proof:

    proved      the k-th score beats every bound that was left out
    widened     it didn't; then every block whose bound reaches that score was scored too, and nothing left out can beat it
    full_scan   too many blocks would have to be scored: a plain scan is cheaper

Excluded items never count toward the k, so that a proof holds under any exclusion.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.bundle import contract
from service.engine import ranking
from service.engine.cpu import query_levels
from service.engine.query import Query, Ranked
from service.engine.session import Session, int64

FIRST_BLOCKS = 64  # scored before anything is known of a query
FULL_SCAN_SHARE = 4  # a plain scan is cheaper than scoring a quarter of all blocks one by one
UNSEEN = -np.inf

PROVED, WIDENED, FULL_SCAN = "proved", "widened", "full_scan"


def worth_screening(items: int) -> bool:
    """Whether a catalogue is large enough for the screen to be used at all; a smaller one is scanned faster than screened."""
    return items >= FIRST_BLOCKS * FULL_SCAN_SHARE * contract.BLOCK


class Retrieval(Protocol):
    """Ranks whole-catalogue queries, each as if it were alone, in the order asked."""

    def top(self, queries: Sequence[Query]) -> list[Ranked]: ...


class Plain:
    """One float32 scan for all of a batch, deep enough that what is excluded leaves k behind."""

    def __init__(self, recommend: Session, items: int) -> None:
        self._recommend = recommend
        self._items = items

    def top(self, queries: Sequence[Query]) -> list[Ranked]:
        if not queries:
            return []
        depth = min(max(query.k + len(query.excluded) for query in queries), self._items)
        feeds = {contract.USER_ID: int64([query.user_row for query in queries]), contract.K: int64([depth])}
        rows, scores = self._recommend.run((contract.ITEM_ID, contract.SCORE_OUT), feeds)
        found = zip(queries, rows, scores, strict=True)
        return [Ranked(*ranking.without(row, score, query.excluded, query.k), FULL_SCAN) for query, row, score in found]


class Screened:
    """Bounds first, float32 where they matter, and a proof before anything is returned."""

    def __init__(
        self, sessions: Mapping[str, Session], items: int, first_blocks: int = FIRST_BLOCKS, levels: int | None = None
    ) -> None:
        self._user, self._screen, self._rescore = (sessions[role] for role in contract.SCREEN_GRAPHS)
        self._plain = Plain(sessions[contract.RECOMMEND], items)
        self._items = items
        self._blocks = -(-items // contract.BLOCK)
        self._first_blocks = first_blocks
        self._levels = np.array([levels or query_levels()], np.float32)

    def top(self, queries: Sequence[Query]) -> list[Ranked]:
        """Queries that need about as many blocks share a scan, so that a greedy one doesn't slow its neighbours."""
        groups: dict[int, list[int]] = defaultdict(list)
        for place, query in enumerate(queries):
            groups[self._first(query)].append(place)
        answers: dict[int, Ranked] = {}
        for first, places in groups.items():
            group = [queries[place] for place in places]
            found = self._screened(group, first) if first else self._plain.top(group)
            answers |= zip(places, found, strict=True)
        return [answers[place] for place in range(len(queries))]

    def _first(self, query: Query) -> int:
        """Blocks to score at first, a power of two above what the query may need; 0 where a plain scan is cheaper."""
        needed = max(self._first_blocks, query.k + len(query.excluded))
        first: int = 1 << (needed - 1).bit_length()
        return first if first * FULL_SCAN_SHARE <= self._blocks else 0

    def _screened(self, queries: Sequence[Query], first: int) -> list[Ranked]:
        (vectors,) = self._user.run((contract.QUERY,), {contract.USER_ID: int64([query.user_row for query in queries])})
        feeds = {contract.QUERY: vectors, contract.LEVELS: self._levels, contract.BLOCKS: int64([first + 1])}
        outputs = (contract.BOUND, contract.BEST_BOUND, contract.BEST_BLOCK)
        bounds, best_bounds, best_blocks = self._screen.run(outputs, feeds)
        chosen = np.ascontiguousarray(best_blocks[:, :first])
        products, scores = self._scored(vectors, chosen)
        answers = []
        for place, query in enumerate(queries):
            answer, last = self._best(query, chosen[place], products[place], scores[place], PROVED)
            if last <= best_bounds[place, first]:
                answer = self._widened(query, vectors[place : place + 1], bounds[place], last)
            answers.append(answer)
        return answers

    def _widened(self, query: Query, vector: NDArray[np.float32], bounds: NDArray[np.float32], last: float) -> Ranked:
        """Score every block that may hold one of the k; what is left out has a bound below a score that k items reach."""
        wanted = np.flatnonzero(bounds >= last)
        if len(wanted) * FULL_SCAN_SHARE > self._blocks:
            return self._plain.top([query])[0]
        products, scores = self._scored(vector, wanted[None])
        return self._best(query, wanted, products[0], scores[0], WIDENED)[0]

    def _scored(self, vectors: NDArray[np.float32], blocks: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        feeds: dict[str, NDArray[Any]] = {contract.QUERY: vectors, contract.BLOCK_ROW: int64(blocks)}
        products, scores = self._rescore.run((contract.PRODUCT, contract.SCORE_OUT), feeds)
        return products, scores

    def _best(
        self, query: Query, blocks: NDArray[np.int64], products: NDArray[np.float32], scores: NDArray[np.float32], path: str
    ) -> tuple[Ranked, float]:
        """The k best of some blocks, and the product of the last of them; below everything where there are fewer than k."""
        rows = (blocks[:, None] * contract.BLOCK + np.arange(contract.BLOCK)).reshape(-1)
        allowed = rows < self._items
        if len(query.excluded):
            allowed &= ~np.isin(rows, query.excluded)
        places = np.flatnonzero(allowed)
        if len(places) > query.k:
            threshold = np.partition(products[places], -query.k)[-query.k]
            places = places[products[places] >= threshold]
        order = places[np.lexsort((rows[places], -products[places]))][: query.k]
        last = float(products[order[-1]]) if len(order) == query.k else UNSEEN
        return Ranked(rows[order], scores[order], path), last
