"""The k best of the whole catalogue, without what is excluded: exactly, whichever way they are found.

`FullScan` scans every item in float32. `BoundedSearch` scans an int8 copy for upper bounds of blocks of items, scores the most promising
blocks in float32, and returns an answer only with a proof:

    proved      the k-th score beats every bound that was left out
    widened     it didn't; then every block whose bound reaches that score was scored too, and nothing left out can beat it
    full_scan   too many blocks would have to be scored: a plain scan is cheaper

Items that are excluded or masked never count toward the k, so that a proof holds under any exclusion and any filter. A query that
may have to pass over many items on its way is hunted for alone: blocks in the order of their bounds, more and more of them, those
that hold nothing allowed left out from the start.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle import contract
from recoserve.search.cpu import query_levels
from recoserve.search.query import Query, Ranking
from recoserve.search.session import Session, int64

WORTH_SCREENING = 1 << 15  # items; fewer are scanned faster than screened
FIRST_BLOCKS = 16  # scored before anything is known of a query
KEPT_PER_FIRST = 8  # bounds looked at for each of those; twice as many in a catalogue of
MANY_BLOCKS = 1 << 17
FIRST_SHARE = 16  # a plain scan is cheaper than scoring a sixteenth of all blocks before anything is known,
FULL_SCAN_SHARE = 4  # or a quarter of them one by one
SHALLOW = 16  # lists of up to this length cost about the same
DEEPER = 8  # a list that was too short is asked for again, so many times as long
MANY_EXCLUDED = 64  # beyond these a query is hunted for
HUNT_GROWTH = 4  # how many times as many blocks each further step of a hunt may score
UNSEEN = -np.inf
N = TypeVar("N", bound=Hashable)

PROVED, WIDENED, FULL_SCAN = "proved", "widened", "full_scan"


class CatalogueSearch(Protocol):
    """Ranks whole-catalogue queries, each as if it were alone, in the order asked."""

    def top(self, queries: Sequence[Query]) -> list[Ranking]: ...


class FullScan:
    """One float32 scan for all of a batch, deep enough that what may not be in the answer leaves k behind.

    `together` tells that the scan is one product for all of them; else each user is a run of its own, which holds one user's
    scores in memory.
    """

    def __init__(self, sessions: Mapping[str, Session], items: int, together: bool = True) -> None:
        self._sessions = sessions
        self._items = items
        self._together = together

    def top(self, queries: Sequence[Query]) -> list[Ranking]:
        if self._together:
            return _in_groups(queries, self._need, self._scanned)
        return [self._scanned([query], self._need(query))[0] for query in queries]

    def _need(self, query: Query) -> "_Need":
        """How far down the whole list the query's k-th item may stand, if its mask is neither friend nor foe of its scores."""
        depth = math.ceil(query.k / _share(query, self._items)) + len(query.excluded)
        return _Need(max(SHALLOW, 1 << (depth - 1).bit_length()), query.vector is None)

    def _scanned(self, queries: Sequence[Query], need: "_Need") -> list[Ranking]:
        depth = min(need.depth, self._items)
        found = zip(queries, *self._ask(queries, depth, need.by_row), strict=False)
        answers = [_allowed(*each) for each in found]
        for place, (query, answer) in enumerate(zip(queries, answers, strict=True)):
            if query.mask and len(answer.item_rows) < query.k and depth < self._items:
                answers[place] = self._scanned([query], _Need(DEEPER * need.depth, need.by_row))[0]
        return answers

    def _ask(self, queries: Sequence[Query], depth: int, by_row: bool) -> Sequence[NDArray[Any]]:
        """Rows and scores of each query's list; perhaps of one more."""
        alone = self._together and len(queries) == 1
        asked = [*queries, *queries] if alone else queries  # a product with one row rounds otherwise than one with several
        feeds: dict[str, NDArray[Any]] = {contract.K: int64([depth])}
        if by_row:
            feeds[contract.USER_ID] = int64(_user_rows(asked))
        else:
            feeds[contract.QUERY] = np.stack([query.vector for query in asked if query.vector is not None])
        role = contract.RECOMMEND if by_row else contract.RECOMMEND_QUERY
        return self._sessions[role].run((contract.ITEM_ID, contract.SCORE_OUT), feeds)


class _Need(NamedTuple):
    """What makes queries be scanned together: the depth, a power of two, and whether they are asked by a user's row."""

    depth: int
    by_row: bool


def _user_rows(queries: Sequence[Query]) -> list[int]:
    """Of those that are asked by a user's row."""
    return [query.user_row for query in queries if query.user_row is not None]


def _share(query: Query, items: int) -> float:
    """Of the catalogue, what the mask lets pass."""
    return max(query.mask.count, 1) / items if query.mask else 1.0


def _allowed(query: Query, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> Ranking:
    """The first k of an ordered list that may be in the answer, in their order."""
    if query.mask or len(query.excluded):
        kept = query.allows(rows)
        rows, scores = rows[kept], scores[kept]
    return Ranking(rows[: query.k], scores[: query.k], FULL_SCAN)


def _in_groups(
    queries: Sequence[Query], need: Callable[[Query], N], answer: Callable[[Sequence[Query], N], list[Ranking]]
) -> list[Ranking]:
    """Queries of equal need are answered together, so that a greedy one doesn't slow its neighbours; answers in the order asked."""
    groups: dict[N, list[int]] = defaultdict(list)
    for place, query in enumerate(queries):
        groups[need(query)].append(place)
    answers: dict[int, Ranking] = {}
    for needed, places in groups.items():
        answers |= zip(places, answer([queries[place] for place in places], needed), strict=True)
    return [answers[place] for place in range(len(queries))]


class BoundedSearch:
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
        self._plain = FullScan(sessions, items)
        self._items = items
        self._blocks = -(-items // contract.BLOCK)
        self._first_blocks = first_blocks
        self._kept_per_first = kept_per_first * (1 if self._blocks < MANY_BLOCKS else 2)
        self._levels = np.array([levels or query_levels()], np.float32)

    def top(self, queries: Sequence[Query]) -> list[Ranking]:
        return _in_groups(queries, self._way, self._group)

    def _way(self, query: Query) -> "_Way":
        hunted = query.mask is not None or len(query.excluded) > MANY_EXCLUDED
        needed = max(self._first_blocks, query.k + (0 if hunted else len(query.excluded)))
        first: int = 1 << (needed - 1).bit_length()
        return _Way(first if first * FIRST_SHARE <= self._blocks else 0, hunted)

    def _group(self, queries: Sequence[Query], way: "_Way") -> list[Ranking]:
        if not way.first:
            return self._plain.top(queries)
        vectors = self._vectors(queries)
        return self._hunted(queries, vectors) if way.hunted else self._screened(queries, vectors, way.first)

    def _vectors(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Each query's vector, float32 [B, d]: its own, or its user's."""
        rows = _user_rows(queries)
        of_users = iter(self._user.run((contract.QUERY,), {contract.USER_ID: int64(rows)})[0] if rows else ())
        return np.stack([next(of_users) if query.vector is None else query.vector for query in queries])

    def _feeds(self, vectors: NDArray[np.float32], blocks: int = 1) -> dict[str, NDArray[Any]]:
        return {contract.QUERY: vectors, contract.LEVELS: self._levels, contract.BLOCKS: int64([blocks])}

    def _screened(self, queries: Sequence[Query], vectors: NDArray[np.float32], first: int) -> list[Ranking]:
        kept = min(first * self._kept_per_first, self._blocks - 1)
        outputs = (contract.BOUND, contract.UNIT, contract.BEST_BOUND, contract.BEST_BLOCK)
        bounds, units, best_bounds, best_blocks = self._screen.run(outputs, self._feeds(vectors, kept + 1))
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

    def _hunted(self, queries: Sequence[Query], vectors: NDArray[np.float32]) -> list[Ranking]:
        bounds, units = self._screen.run((contract.BOUND, contract.UNIT), self._feeds(vectors))
        alone = zip(queries, np.split(vectors, len(vectors)), bounds * units, strict=True)
        return [self._hunt(query, vector, bound) for query, vector, bound in alone]

    def _hunt(self, query: Query, vector: NDArray[np.float32], bounds: NDArray[np.float32]) -> Ranking:
        """Score blocks in the order of their `bounds` [blocks] until no other can hold one of the k."""
        places = np.flatnonzero(query.mask.blocks()) if query.mask else np.arange(self._blocks)
        bounds, scored, reached, path = bounds[places], _NOTHING, UNSEEN, PROVED
        step, room = max(self._first_blocks, math.ceil(query.k / _share(query, self._items))), self._blocks // FULL_SCAN_SHARE
        while len(places):
            now, later = _largest(bounds, step)
            room -= len(now)
            if room < 0:
                return self._plain.top([query])[0]
            scored += self._scored([query], vector, np.zeros(len(now), np.int64), places[now])
            reached = max(reached, _kth_best(scored.products.reshape(1, -1), np.array([query.k]))[0])
            later = later[bounds[later] >= reached]
            places, bounds = places[later], bounds[later]
            if len(places):
                step, path = HUNT_GROWTH * step, WIDENED
        return scored.ranked([query], np.array([reached]), path)[0][0]

    def _widened(self, query: Query, vector: NDArray[np.float32], bounds: NDArray[np.float32], last: np.float32) -> Ranking:
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
            if query.mask or len(query.excluded):
                start, stop = np.searchsorted(owners, (place, place + 1))
                products[start:stop][~query.allows(_rows(blocks[start:stop]))] = UNSEEN
        return _Scored(owners, blocks, products, scores)


class _Way(NamedTuple):
    """Blocks to score at first, a power of two above what a query may need (0: a plain scan is cheaper); or a hunt, alone."""

    first: int
    hunted: bool


@dataclass(frozen=True)
class _Scored:
    """Pairs of a query and a block: `owners` and `blocks` int64 [P], `products` and `scores` float32 [P, BLOCK]."""

    owners: NDArray[np.int64]
    blocks: NDArray[np.int64]
    products: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __add__(self, other: "_Scored") -> "_Scored":
        return _Scored(*(np.concatenate((getattr(self, one.name), getattr(other, one.name))) for one in fields(self)))

    def ranked(
        self, queries: Sequence[Query], reached: NDArray[np.float32], path: str
    ) -> tuple[list[Ranking], NDArray[np.float32]]:
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
            answers.append(Ranking(rows[start:stop], scores[start:stop], path))
        return answers, last


_NOTHING = _Scored(*(np.empty(0, np.int64),) * 2, *(np.empty((0, contract.BLOCK), np.float32),) * 2)


def _largest(bounds: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of the `count` largest, ascending, and those of the rest."""
    if count >= len(bounds):
        return np.arange(len(bounds)), np.empty(0, np.int64)
    order = np.argpartition(bounds, len(bounds) - count)
    return np.sort(order[-count:]), order[:-count]


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
