"""Measures lengths of vectors and finds the nearest ones, in tables of any size: a memory map is read slice by slice."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recoserve.bundle.archive import Bundle
from recoserve.bundle.arrays import Float32Array, Float64Array, Rows
from recoserve.bundle.tensors import embedding_tables
from recoserve.errors import OperatorError

SLICE_ELEMENTS = 1 << 21  # 16 MiB of float64 at a time
QUARTILES = ("min", "25 %", "median", "75 %", "max")
UNIT_LENGTH_TOLERANCE = 1e-3


@dataclass(frozen=True)
class LengthSummary:
    """Euclidean lengths of one table's vectors: how many there are, how many are zero, and the five `QUARTILES` of the lengths."""

    rows: int
    zero: int
    quartiles: tuple[float, ...]
    unit: bool  # every vector that is not zero has length 1


def user_and_item_vectors(bundle: Bundle) -> tuple[Float32Array, Float32Array]:
    """Both tables as memory maps, float32 [U, d] and [N, d]; raises OperatorError where the bundle has none."""
    tables = embedding_tables(bundle)
    if tables is None:
        raise OperatorError("this model is no dot product: it has no item vectors to show")
    return tables


def summarise_lengths(table: Float32Array) -> LengthSummary:
    """A summary of the lengths of a table's vectors, float32 [n, d]."""
    lengths = _lengths(table)
    is_zero = lengths == 0
    quartiles = tuple(float(value) for value in np.quantile(lengths, (0, 0.25, 0.5, 0.75, 1)))
    unit = bool(np.all(is_zero | (np.abs(lengths - 1) < UNIT_LENGTH_TOLERANCE)))
    return LengthSummary(len(lengths), int(is_zero.sum()), quartiles, unit)


def nearest(table: Float32Array, row: int, k: int) -> tuple[Rows, Float64Array]:
    """The `k` rows of largest cosine with `row`, without `row` itself, best first; equal cosines by ascending row.

    Returns rows int64 and cosines float64, [min(k, N - 1)] each; a zero row has cosine 0 with every other. Raises OperatorError
    where `row` itself is zero.
    """
    vector = np.asarray(table[row], np.float64)
    length = np.sqrt(vector @ vector)
    if not length:
        raise OperatorError("its vector is zero: every item is as near to it as any other")
    lengths = _lengths(table)
    products = np.concatenate([vectors @ (vector / length) for vectors in slices(table)])
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    order = np.argsort(-cosines, kind="stable")
    best = order[order != row][:k]
    return best, cosines[best]


def slices(table: Float32Array) -> Iterator[Float64Array]:
    """The vectors of a table in order, in slices float64 [rows, d] of bounded size."""
    size = max(1, SLICE_ELEMENTS // table.shape[1])
    return (np.asarray(table[start : start + size], np.float64) for start in range(0, len(table), size))


def _lengths(table: Float32Array) -> Float64Array:
    # Slices are float64: as float32 the squares of a large vector would be infinite.
    lengths: Float64Array = np.sqrt(np.concatenate([np.einsum("nd,nd->n", vectors, vectors) for vectors in slices(table)]))
    return lengths
