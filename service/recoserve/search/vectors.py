"""Computes with a bundle's vectors: nearest neighbours, the query vector of a history, and which of a user's items explain a score.

Cosines are those of the bundle's tables. A vector of zeros has cosine 0 with everything.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float32Array, Float64Array, Rows
from recoserve.search.mask import Mask
from recoserve.search.ordering import best_first
from recoserve.search.query import NeighbourQuery, Ranking, isin_sorted

ROUNDING = np.finfo(np.float32).eps  # if float32 vectors cancel out, their sum is no larger than this share of their sizes
SLICE_ROWS = 1 << 16  # of a table, read at a time


class VectorTable:
    """One side's `vectors`, float32 [rows, d], usually a memory map; `unit` says that all have length 1, or are zero."""

    def __init__(self, vectors: Float32Array, unit: bool, slice_rows: int = SLICE_ROWS) -> None:
        self.vectors = vectors
        self._slice_rows = slice_rows
        self._lengths = None if unit else self._measure_lengths()

    def _measure_lengths(self) -> Float32Array:
        """Each row's length, float32 [rows], with 1 in place of 0, so that dividing a vector of zeros by it leaves zeros."""
        # In float64, since squares of large or tiny numbers leave the range of float32.
        lengths = np.concatenate([np.linalg.norm(rows.astype(np.float64), axis=1) for rows in self.slices()])
        return np.where(lengths > 0, lengths, 1).astype(np.float32)

    def nearest(self, query: NeighbourQuery, mask: Mask | None) -> Ranking:
        """The k rows with the largest cosine to `query.row`, without that row and those not allowed; scores are cosines."""
        vector = self.vectors[query.row]
        if self._lengths is not None:
            # Before the product, not after it: the product of two large vectors leaves the range of float32.
            vector = vector / self._lengths[query.row]
        if query.candidates is None:
            rows = np.arange(len(self.vectors))
            cosines = np.concatenate([vectors @ vector for vectors in self.slices()])
        else:
            rows = query.candidates
            cosines = self.vectors[rows] @ vector
        if self._lengths is not None:
            cosines /= self._lengths[rows]
        allowed = ~isin_sorted(rows, query.excluded) & (rows != query.row)
        if mask:
            allowed &= mask.passes(rows)
        return Ranking(*best_first(rows[allowed], cosines[allowed], query.k))

    def slices(self) -> Iterator[Float32Array]:
        """All vectors in order, as many at a time as fit in a cache."""
        return (self.vectors[start : start + self._slice_rows] for start in range(0, len(self.vectors), self._slice_rows))


class VectorTables:
    """Both sides of a bundle, `users` float32 [U, d] and `items` float32 [N, d]; `unit` as in `VectorTable`, for both."""

    def __init__(self, users: Float32Array, items: Float32Array, unit: bool) -> None:
        self.users, self.items = VectorTable(users, unit), VectorTable(items, unit)
        self.unit = unit
        self._user_shape = None if unit else _user_shape(self.users)

    def history_vector(self, liked: Rows, weights: Float32Array | None, disliked: Rows) -> Float32Array | None:
        """The query vector of somebody who likes and dislikes some items, float32 [d]; None where the items' vectors cancel out.

        Its direction is the mean of the liked items, by `weights`; with disliked items, twice that mean less theirs. Unit vectors
        give a unit vector. Otherwise its length is the users' root mean square length, and a dimension in which all users have the
        same value, such as a bias, gets that value and counts neither for direction nor length. Source: docs/decisions/0016.
        """
        likes, dislikes = (self.items.vectors[rows].astype(np.float64) for rows in (liked, disliked))
        # Divided by the largest first: sums of very large or very small weights would leave the range of float64.
        shares = None if weights is None else weights / weights.max()
        direction, magnitude = (np.average(values, axis=0, weights=shares) for values in (likes, abs(likes)))
        if len(disliked):
            direction, magnitude = 2 * direction - dislikes.mean(axis=0), 2 * magnitude + abs(dislikes).mean(axis=0)
        varying, values, length = self._user_shape or _UserShape(np.ones(len(direction), np.bool_), direction, 1.0)
        direction_length = np.linalg.norm(direction[varying])
        # `magnitude` is what `direction` would be if nothing cancelled out. A sum that is no larger than its rounding error has no
        # direction.
        if not direction_length > ROUNDING * np.linalg.norm(magnitude[varying]):
            return None
        return np.where(varying, direction * (length / direction_length), values).astype(np.float32)

    def reasons(self, item_rows: Sequence[int], history: Rows, k: int) -> Iterator[tuple[Rows, Float32Array, Float32Array]]:
        """For each of `item_rows` the k items of `history` with the largest cosine: rows, cosines, shares of all positive cosines.

        The item itself is left out, and so are items whose cosine is 0, up to rounding, or below.
        """
        history_units = unit_rows(self.items.vectors[history])
        for row in item_rows:
            cosines = (history_units @ unit_rows(self.items.vectors[[row]])[0]).astype(np.float32)
            positive = (cosines > ROUNDING) & (history != row)
            rows, largest = best_first(history[positive], cosines[positive], k)
            yield rows, largest, (largest / cosines[positive].sum(dtype=np.float64)).astype(np.float32)


def unit_rows(vectors: Float32Array) -> Float64Array:
    """Each vector scaled to length 1, in float64; zeros stay zeros: float32 [n, d] -> float64 [n, d]."""
    vectors64 = vectors.astype(np.float64)
    lengths = np.linalg.norm(vectors64, axis=1, keepdims=True)
    return vectors64 / np.where(lengths > 0, lengths, 1)


class _UserShape(NamedTuple):
    """In which dimensions users differ (`varying`, bool [d]), the first user's `values`, float64 [d], and the users' root mean
    square `length` over the varying dimensions."""

    varying: NDArray[np.bool_]
    values: Float64Array
    length: float


def _user_shape(users: VectorTable) -> _UserShape:
    first = users.vectors[0]
    varying, squares = np.zeros(len(first), np.bool_), np.zeros(len(first))
    for vectors in users.slices():
        varying |= (vectors != first).any(axis=0)
        squares += np.square(vectors, dtype=np.float64).sum(axis=0)
    if not varying.any():  # if all users are equal, no dimension can be told from a bias: all count
        varying[:] = True
    return _UserShape(varying, first.astype(np.float64), float(np.sqrt(squares[varying].sum() / len(users.vectors))))
