"""Writes the int8 index: the items rounded to int8, and for each block the numbers that give an upper bound on its products.

For a query q and an item v, with q' and v' their values after rounding,

    q·v = q'·v' + (q - q')·v' + q·(v - v')  <=  q'·v' + |q - q'| |v'| + |q| |v - v'|        (Cauchy-Schwarz)

so the largest q'·v' in a block, plus |q - q'| times the block's largest |v'|, plus |q| times its largest |v - v'|, is at least
the product of every item in the block. Queries and items are first multiplied by the same orthogonal matrix (`rotation`), which
changes no product: then rounding to int8 loses less, and the leading dimensions hold most of each product.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle import contract
from recoserve.bundle.arrays import Float32Array, Float64Array
from recoserve_export.graph.dot_score import EmbeddingTable, Formula
from recoserve_export.write.rotation import rotation_of
from recoserve_export.write.tensors import ExternalTensor, padded_row_count, page_after

# The number of items in a piece, which one MatMulInteger multiplies. Larger pieces are faster for single queries, because each
# MatMulInteger wakes the thread pool; smaller ones are faster for batches, whose int32 products then stay in cache. Decision 9 has
# the figures.
PIECE_ITEMS = 1 << 17
MANY_ITEMS, LARGE_PIECE_ITEMS = 1 << 22, 1 << 18
LEVELS = 127  # items are rounded to integers from -127 to 127
# Nothing is divided by 0: a block whose step isn't larger than this gets a step of 1, and the largest number of a query counts as
# no less.
SMALLEST_STEP = 1e-30
EPSILON = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Int8Tensors:
    """The tensors that the graph of the bounds needs.

    `pieces` are int8 [d, items of the piece] each, in the index's own file. `step`, `error` and `norm` float32 [blocks] are, for
    each block, what 1 in int8 stands for, the largest |v - v'| plus an allowance for float32 rounding, and the largest |v'|.
    `rotation` is float32 [d, d].
    """

    pieces: list[ExternalTensor]
    step: Float32Array
    error: Float32Array
    norm: Float32Array
    rotation: Float32Array


def write(folder: Path, table: EmbeddingTable, formula: Formula) -> Int8Tensors:
    """Write `screen.bin`, the rotated int8 copy of the item vectors that `formula` multiplies; returns the index's tensors."""
    rotation = rotation_of((_stored_vectors(rows, formula) for _, rows in table.blocks()), table.width)
    pieces: list[ExternalTensor] = []
    steps, errors, norms = [], [], []
    with open(folder / contract.SCREEN_TENSORS, "wb") as file:
        for rows in _item_pieces(table, formula):
            rotated = rows @ rotation
            steps.append(_block_steps(rotated))
            row_steps = np.repeat(steps[-1].astype(np.float64), contract.BLOCK)[:, None]
            levels = np.clip(np.round(rotated / row_steps), -LEVELS, LEVELS)
            pieces.append(_append(file, len(pieces), levels.astype(np.int8)))
            rounded = levels * row_steps
            errors.append(_largest_lengths(rotated - rounded) + _float32_allowance(table.width) * _largest_lengths(rows))
            norms.append(_largest_lengths(rounded))
    return Int8Tensors(
        pieces=pieces,
        step=np.concatenate(steps),
        error=_round_up(np.concatenate(errors)),
        norm=_round_up(np.concatenate(norms)),
        rotation=rotation.astype(np.float32),
    )


def _item_pieces(table: EmbeddingTable, formula: Formula) -> Iterator[Float64Array]:
    """The item vectors in pieces of complete blocks, float64 [items of the piece, d]; rows of zeros fill the last block."""
    size = PIECE_ITEMS if table.row_count < MANY_ITEMS else LARGE_PIECE_ITEMS
    for start in range(0, table.row_count, size):
        rows = _stored_vectors(np.asarray(table.values[start : start + size]), formula)
        yield np.pad(rows, ((0, padded_row_count(len(rows)) - len(rows)), (0, 0)))


def _stored_vectors(rows: NDArray[np.float32], formula: Formula) -> Float64Array:
    """The vectors of some items, with the values that the item table has."""
    # The bounds must hold for these float32 values, not for the float64 values that they are rounded from.
    return formula.vectors(rows).astype(np.float32).astype(np.float64)


def _block_steps(rotated: Float64Array) -> Float32Array:
    """What 1 in int8 stands for in each block, float32 [blocks]: 1 if the block's numbers are so small that all are rounded to 0.

    Each block has its own step, so that one very long row loosens the bound of its own block and no other.
    """
    peaks = np.abs(rotated).reshape(-1, contract.BLOCK * rotated.shape[1]).max(axis=1)
    # Steps are rounded to float32 before the items are divided by them, since the graph multiplies by the float32 steps.
    steps = (peaks / LEVELS).astype(np.float32)
    return np.where(steps > SMALLEST_STEP, steps, np.float32(1))


def _float32_allowance(dim: int) -> float:
    """How far float32 rounding may raise a product above its bound, for a query and an item of length 1.

    The bound is proved for exact numbers, but the service rotates the query, adds up the bound and rescores the items in float32.
    A float32 sum of d products is off by at most about d·u·|q||v|, with u = EPSILON / 2 the unit roundoff (Higham, Accuracy and
    Stability of Numerical Algorithms, 2nd ed., section 3.1). Each rotated number and the rescored product are such sums, and the
    bound takes a few operations more: the allowance is for four such sums and 64 operations. It would be too small if every rotated
    number had the largest error in the worst direction; rounding errors don't add up like that, and parity checks every block's
    bound for some users.
    """
    return 2 * (dim + 16) * EPSILON


def _largest_lengths(rows: Float64Array) -> Float64Array:
    """The largest length of a row in each block: float64 [n * BLOCK, d] -> float64 [n]."""
    lengths: Float64Array = np.linalg.norm(rows, axis=1).reshape(-1, contract.BLOCK).max(axis=1)
    return lengths


def _round_up(values: Float64Array) -> Float32Array:
    # `astype` rounds to the nearest float32, which may be lower; the next larger one never is. A bound that is too low is wrong.
    return np.nextafter(values.astype(np.float32), np.float32(np.inf))


def _append(file: BinaryIO, piece_number: int, levels: NDArray[np.int8]) -> ExternalTensor:
    """Write a piece, int8 [items of the piece, d], transposed and at the next page of the file."""
    offset = page_after(file.tell())
    file.seek(offset)
    file.write(np.ascontiguousarray(levels.T).tobytes())
    return ExternalTensor(f"items8_{piece_number}", (levels.shape[1], levels.shape[0]), offset, np.dtype(np.int8))
