"""The vectors of users and items themselves: who is near whom, what a history comes to, and what carries a score.

Cosines are those of the bundle's tables. A vector of zeros has cosine 0 with everything.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.search import ranking
from recoserve.search.filters import Mask
from recoserve.search.query import NeighbourQuery, Query, Ranking

ROUNDING = np.finfo(np.float32).eps  # of what vectors add up to, no more than this is left where they cancel out
AT_ONCE = 1 << 16  # rows of a table looked at together


class Table:
    """One side's vectors, float32 [rows, d], usually a memory map; `unit` where all are of length 1, or zero."""

    def __init__(self, rows: Float32Array, unit: bool, at_once: int = AT_ONCE) -> None:
        self.rows = rows
        self._at_once = at_once
        self._lengths = None if unit else self._measured()

    def _measured(self) -> Float32Array:
        """Each row's length, 1 in place of 0: float32 [rows]."""
        found = np.concatenate([np.linalg.norm(part.astype(np.float64), axis=1) for part in self.parts()])
        return np.where(found > 0, found, 1).astype(np.float32)

    def nearest(self, query: NeighbourQuery, mask: Mask | None) -> Ranking:
        """The k rows of largest cosine to one of them, itself left out."""
        unit = self.rows[query.row]
        if self._lengths is not None:
            unit = unit / self._lengths[query.row]  # before the product, which float32 may not hold otherwise
        if query.candidates is None:
            rows = np.arange(len(self.rows))
            cosines = np.concatenate([part @ unit for part in self.parts()])
        else:
            rows = query.candidates
            cosines = self.rows[rows] @ unit
        if self._lengths is not None:
            cosines /= self._lengths[rows]
        excluded = np.union1d(query.excluded, [query.row])
        allowed = Query(None, query.k, excluded, mask=mask).allows(rows)
        return Ranking(*ranking.best_first(rows[allowed], cosines[allowed], query.k))

    def parts(self) -> Iterator[Float32Array]:
        """The rows, so many at once as fit in a cache."""
        return (self.rows[at : at + self._at_once] for at in range(0, len(self.rows), self._at_once))


class Vectors:
    """Both tables of a bundle, `users` float32 [U, d] and `items` float32 [N, d]; `unit` where all are of length 1."""

    def __init__(self, users: Float32Array, items: Float32Array, unit: bool) -> None:
        self.users, self.items = Table(users, unit), Table(items, unit)
        self.unit = unit
        self._usual = None if unit else _usual(self.users)

    def of_history(self, liked: Rows, weights: Float32Array | None, disliked: Rows) -> Float32Array | None:
        """The query of somebody who likes and dislikes some items, float32 [d]; None where no direction is left.

        Its direction is twice the mean of what is liked, by `weights`, less the mean of what is disliked (where anything is).
        Unit vectors give a unit vector. Otherwise the query gets the users' root mean square length, and in the dimensions in which
        all users have one value, as of a bias, it has that value as well.
        """
        likes, dislikes = (self.items.rows[rows].astype(np.float64) for rows in (liked, disliked))
        shares = None if weights is None else weights / weights.max()
        direction, reach = (np.average(each, axis=0, weights=shares) for each in (likes, abs(likes)))
        if len(disliked):
            direction, reach = 2 * direction - dislikes.mean(axis=0), 2 * reach + abs(dislikes).mean(axis=0)
        varying, value, length = self._usual or (np.ones(len(direction), np.bool_), direction, 1.0)
        size = np.linalg.norm(direction[varying])
        if not size > ROUNDING * np.linalg.norm(reach[varying]):
            return None
        return np.where(varying, direction * (length / size), value).astype(np.float32)

    def reasons(self, item_rows: Sequence[int], own: Rows, k: int) -> Iterator[tuple[Rows, Float32Array, Float32Array]]:
        """For each of some items the k of somebody's own that carry its score most: rows, cosines, shares of all positive cosines.

        The item itself is left out, and so is what is at right angles to it but for rounding.
        """
        mine = ranking.unit_rows(self.items.rows[own])
        for row in item_rows:
            cosines = (mine @ ranking.unit_rows(self.items.rows[[row]])[0]).astype(np.float32)
            carrying = (cosines > ROUNDING) & (own != row)
            rows, best = ranking.best_first(own[carrying], cosines[carrying], k)
            yield rows, best, (best / cosines[carrying].sum(dtype=np.float64)).astype(np.float32)


def _usual(users: Table) -> tuple[NDArray[np.bool_], NDArray[np.float64], float]:
    """Dimensions in which users differ, the first user's values, and the root mean square length in those dimensions."""
    first = users.rows[0]
    varying, squares = np.zeros(len(first), np.bool_), np.zeros(len(first))
    for part in users.parts():
        varying |= (part != first).any(axis=0)
        squares += np.square(part, dtype=np.float64).sum(axis=0)
    if not varying.any():
        varying[:] = True
    return varying, first.astype(np.float64), float(np.sqrt(squares[varying].sum() / len(users.rows)))
