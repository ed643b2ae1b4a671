"""Lengths of vectors and the nearest ones, over tables of any size: never a second whole copy in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.archive import Bundle
from recoserve.bundle.tensors import embedding_tables
from recoserve.errors import OperatorError

Table = NDArray[np.float32]
Exact = NDArray[np.float64]

CHUNK_ELEMENTS = 1 << 21  # 16 MiB of float64 at a time
QUARTILES = ("min", "25 %", "median", "75 %", "max")
UNIT_ROOM = 1e-3


@dataclass(frozen=True)
class Lengths:
    """Euclidean lengths of one table's rows: how many rows, how many of length zero, and the five `QUARTILES`."""

    rows: int
    zero: int
    quartiles: tuple[float, ...]
    unit: bool  # every row that is not zero has length 1


def user_and_item_vectors(bundle: Bundle) -> tuple[Table, Table]:
    """Both tables as memory maps, float32 [U, d] and [N, d]; raises OperatorError where the bundle has none."""
    found = embedding_tables(bundle)
    if found is None:
        raise OperatorError("this model is no dot product: it has no item vectors to show")
    return found


def lengths(table: Table) -> Lengths:
    """What there is to say of a table's lengths; sums are float64, so that no float32 overflows."""
    each = _lengths(table)
    zero = each == 0
    quartiles = tuple(float(value) for value in np.quantile(each, (0, 0.25, 0.5, 0.75, 1)))
    return Lengths(len(each), int(zero.sum()), quartiles, bool(np.all(zero | (np.abs(each - 1) < UNIT_ROOM))))


def nearest(table: Table, row: int, k: int) -> tuple[NDArray[np.int64], Exact]:
    """The `k` rows of largest cosine with `row`, itself left out, best first and lower rows first among equals.

    Returns rows int64 and cosines float64, [min(k, N - 1)] each; a zero row has cosine 0 with every other. Raises OperatorError
    where `row` itself is zero.
    """
    own = np.asarray(table[row], np.float64)
    length = np.sqrt(own @ own)
    if not length:
        raise OperatorError("its vector is zero: every item is as near to it as any other")
    each = _lengths(table)
    products = np.concatenate([block @ (own / length) for _, block in blocks(table)])
    cosines = np.divide(products, each, out=np.zeros_like(products), where=each > 0)
    order = np.argsort(-cosines, kind="stable")
    best = order[order != row][:k]
    return best, cosines[best]


def blocks(table: Table) -> Iterator[tuple[int, Exact]]:
    """(first row, rows as float64) in pieces of bounded size."""
    step = max(1, CHUNK_ELEMENTS // table.shape[1])
    return ((at, np.asarray(table[at : at + step], np.float64)) for at in range(0, len(table), step))


def _lengths(table: Table) -> Exact:
    squares: list[NDArray[Any]] = [np.einsum("nd,nd->n", block, block) for _, block in blocks(table)]
    found: Exact = np.sqrt(np.concatenate(squares))
    return found
