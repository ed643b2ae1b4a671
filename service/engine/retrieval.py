"""The k best of the whole catalogue, without what is excluded: exactly, whichever way they are found.

`Plain` scans every item in float32. `Screened` scans an int8 copy for upper bounds of blocks of items, scores the most promising
blocks in float32, and returns an answer only with a proof:

    proved      the k-th score beats every bound that was left out
    widened     it didn't; then every block whose bound reaches that score was scored too, and nothing left out can beat it
    full_scan   too many blocks would have to be scored: a plain scan is cheaper

Excluded items never count toward the k, so that a proof holds under any exclusion.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.bundle import contract
from service.engine import ranking
from service.engine.cpu import query_levels
from service.engine.query import Query, Ranked
from service.engine.session import Session, int64

WORTH_SCREENING = 1 << 15  # items; fewer are scanned faster than screened
FIRST_BLOCKS = 16  # scored before anything is known of a query
KEPT_PER_FIRST = 8  # bounds looked at for each of those; twice as many in a catalogue of
MANY_BLOCKS = 1 << 17
FIRST_SHARE = 16  # a plain scan is cheaper than scoring a sixteenth of all blocks before anything is known,
FULL_SCAN_SHARE = 4  # or a quarter of them one by one
SHALLOW = 16  # lists of up to this length cost about the same
UNSEEN = -np.inf

PROVED, WIDENED, FULL_SCAN = "proved", "widened", "full_scan"


class Retrieval(Protocol):
    """Ranks whole-catalogue queries, each as if it were alone, in the order asked."""

    def top(self, queries: Sequence[Query]) -> list[Ranked]: ...


class Plain:
    """One float32 scan for all of a batch, deep enough that what is excluded leaves k behind.

    `together` tells that the scan is one product for all of them; else each user is a run of its own, which holds one user's
    scores in memory.
    """

    def __init__(self, recommend: Session, items: int, together: bool = True) -> None:
        self._recommend = recommend
        self._items = items
        self._together = together

    def top(self, queries: Sequence[Query]) -> list[Ranked]:
        if self._together:
            return _in_groups(queries, _depth, self._scanned)
        return [self._scanned([query], _depth(query))[0] for query in queries]

    def _scanned(self, queries: Sequence[Query], depth: int) -> list[Ranked]:
        users = [query.user_row for query in queries]
        if self._together and len(users) == 1:
            users *= 2  # a product with one row rounds otherwise than one with several: an answer must not tell who was beside it
        feeds = {contract.USER_ID: int64(users), contract.K: int64([min(depth, self._items)])}
        rows, scores = self._recommend.run((contract.ITEM_ID, contract.SCORE_OUT), feeds)
        found = zip(queries, rows, scores, strict=False)
        return [Ranked(*ranking.without(row, score, query.excluded, query.k), FULL_SCAN) for query, row, score in found]


def _depth(query: Query) -> int:
    """How far down an unfiltered list the query's k-th item may stand, as a power of two."""
    return max(SHALLOW, 1 << (query.k + len(query.excluded) - 1).bit_length())


def _in_groups(
    queries: Sequence[Query], need: Callable[[Query], int], answer: Callable[[Sequence[Query], int], list[Ranked]]
) -> list[Ranked]:
    """Queries of equal need are answered together, so that a greedy one doesn't slow its neighbours; answers in the order asked."""
    groups: dict[int, list[int]] = defaultdict(list)
    for place, query in enumerate(queries):
        groups[need(query)].append(place)
    answers: dict[int, Ranked] = {}
    for needed, places in groups.items():
        answers |= zip(places, answer([queries[place] for place in places], needed), strict=True)
    return [answers[place] for place in range(len(queries))]


class Screened:
    """Bounds first, float32 where they matter, and a proof before anything is returned.

    The blocks with the best bounds are scored in two steps: a few, which give a score that k items reach, and then those of the
    rest whose bound reaches that score.
    """

    def __init__(
        self,
        sessions: Mapping[str, Session],
        items: int,
        first_blocks: int = FIRST_BLOCKS,
        kept_per_first: int = KEPT_PER_FIRST,
        levels: int | None = None,
    ) -> None:
        self._user, self._screen, self._rescore = (sessions[role] for role in contract.SCREEN_GRAPHS)
        self._plain = Plain(sessions[contract.RECOMMEND], items)
        self._items = items
        self._blocks = -(-items // contract.BLOCK)
        self._first_blocks = first_blocks
        self._kept_per_first = kept_per_first * (1 if self._blocks < MANY_BLOCKS else 2)
        self._levels = np.array([levels or query_levels()], np.float32)

    def top(self, queries: Sequence[Query]) -> list[Ranked]:
        return _in_groups(queries, self._first, self._group)

    def _first(self, query: Query) -> int:
        """Blocks to score at first, a power of two above what the query may need; 0 where a plain scan is cheaper."""
        needed = max(self._first_blocks, query.k + len(query.excluded))
        first: int = 1 << (needed - 1).bit_length()
        return first if first * FIRST_SHARE <= self._blocks else 0

    def _group(self, queries: Sequence[Query], first: int) -> list[Ranked]:
        return self._screened(queries, first) if first else self._plain.top(queries)

    def _screened(self, queries: Sequence[Query], first: int) -> list[Ranked]:
        (vectors,) = self._user.run((contract.QUERY,), {contract.USER_ID: int64([query.user_row for query in queries])})
        kept = min(first * self._kept_per_first, self._blocks - 1)
        feeds = {contract.QUERY: vectors, contract.LEVELS: self._levels, contract.BLOCKS: int64([kept + 1])}
        outputs = (contract.BOUND, contract.UNIT, contract.BEST_BOUND, contract.BEST_BLOCK)
        bounds, units, best_bounds, best_blocks = self._screen.run(outputs, feeds)
        everyone = np.repeat(np.arange(len(queries)), first)
        scored = self._scored(queries, vectors, everyone, best_blocks[:, :first].reshape(-1))
        reached = _kth_best(scored.products.reshape(len(queries), -1), np.array([query.k for query in queries]))
        owners, columns = np.nonzero(best_bounds[:, first:kept] >= reached[:, None])
        if len(owners):
            scored += self._scored(queries, vectors, owners, best_blocks[owners, first + columns])
        answers, last = scored.ranked(queries, reached, PROVED)
        for place in np.flatnonzero(last <= best_bounds[:, kept]).tolist():
            answers[place] = self._widened(queries[place], vectors[place : place + 1], bounds[place] * units[place], last[place])
        return answers

    def _widened(self, query: Query, vector: NDArray[np.float32], bounds: NDArray[np.float32], last: np.float32) -> Ranked:
        """Score every block that may hold one of the k; what is left out has a bound below a score that k items reach."""
        wanted = np.flatnonzero(bounds >= last)
        if len(wanted) * FULL_SCAN_SHARE > self._blocks:
            return self._plain.top([query])[0]
        scored = self._scored([query], vector, np.zeros(len(wanted), np.int64), wanted)
        return scored.ranked([query], np.array([last]), WIDENED)[0][0]

    def _scored(
        self, queries: Sequence[Query], vectors: NDArray[np.float32], owners: NDArray[np.int64], blocks: NDArray[np.int64]
    ) -> "_Scored":
        """Float32 products and scores of pairs of a query's place and a block, ascending by place; what may not count is UNSEEN."""
        feeds: dict[str, NDArray[Any]] = {contract.QUERY: vectors}
        feeds |= {contract.QUERY_ROW: int64(owners), contract.BLOCK_ROW: int64(blocks)}
        products, scores = self._rescore.run((contract.PRODUCT, contract.SCORE_OUT), feeds)
        if left := self._items % contract.BLOCK:
            products[blocks == self._blocks - 1, left:] = UNSEEN
        for place, query in enumerate(queries):
            if len(query.excluded):
                start, stop = np.searchsorted(owners, (place, place + 1))
                products[start:stop][np.isin(_rows(blocks[start:stop]), query.excluded)] = UNSEEN
        return _Scored(owners, blocks, products, scores)


@dataclass(frozen=True)
class _Scored:
    """Pairs of a query and a block: `owners` and `blocks` int64 [P], `products` and `scores` float32 [P, BLOCK]."""

    owners: NDArray[np.int64]
    blocks: NDArray[np.int64]
    products: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __add__(self, other: "_Scored") -> "_Scored":
        return _Scored(*(np.concatenate((getattr(self, one.name), getattr(other, one.name))) for one in fields(self)))

    def ranked(self, queries: Sequence[Query], reached: NDArray[np.float32], path: str) -> tuple[list[Ranked], NDArray[np.float32]]:
        """The k best of each query's blocks, and the product of the last of them [B]; UNSEEN where there are fewer than k.

        `reached` float32 [B] is a product that k items of the query reach.
        """
        pairs, columns = np.nonzero((self.products >= reached[self.owners, None]) & (self.products > UNSEEN))
        owners, products = self.owners[pairs], self.products[pairs, columns]
        rows = self.blocks[pairs] * contract.BLOCK + columns
        order = np.lexsort((rows, -products, owners))
        starts = np.searchsorted(owners[order], np.arange(len(queries) + 1))
        rows, products, scores = rows[order], products[order], self.scores[pairs, columns][order]
        last = np.full(len(queries), UNSEEN, np.float32)
        answers = []
        for place, query in enumerate(queries):
            start, stop = starts[place], min(starts[place + 1], starts[place] + query.k)
            if stop - start == query.k:
                last[place] = products[stop - 1]
            answers.append(Ranked(rows[start:stop], scores[start:stop], path))
        return answers, last


def _kth_best(products: NDArray[np.float32], k: NDArray[np.int64]) -> NDArray[np.float32]:
    """The k-th largest of each row: float32 [B, n] and int64 [B] -> float32 [B]; UNSEEN where there are fewer."""
    found = np.full(len(products), UNSEEN, np.float32)
    for one in set(k.tolist()):
        if one <= products.shape[1]:
            mine = k == one
            found[mine] = np.partition(products[mine], -one, axis=1)[:, -one]
    return found


def _rows(blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """The items of each block: int64 [P] -> [P, BLOCK]."""
    return blocks[:, None] * contract.BLOCK + np.arange(contract.BLOCK)
