"""The int8 index: a copy of the items in int8, and for each block of items what an upper bound of its products is made of.

For a query q and an item v, with q' and v' their values after rounding,

    q·v = q'·v' + (q - q')·v' + q·(v - v')  <=  q'·v' + |q - q'| |v'| + |q| |v - v'|        (Cauchy-Schwarz)

so the largest q'·v' in a block, plus |q - q'| times the block's largest |v'|, plus |q| times its largest |v - v'|, is at least
the product of every item in the block. Both sides are multiplied by one orthogonal matrix first (`rotation`), which changes no
product: rounding to int8 loses less then, and the leading dimensions hold most of each product.
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
from recoserve_export.write.tensors import ExternalTensor, padded, page_after

# Items in one piece, which one MatMulInteger multiplies. Larger pieces suit single queries, for each product wakes the thread
# pool; smaller ones suit batches, whose int32 products then stay in cache. Decision 9 has the figures.
PIECE_ITEMS = 1 << 17
MANY_ITEMS, LARGE_PIECE_ITEMS = 1 << 22, 1 << 18
LEVELS = 127  # of int8, for items
SMALLEST_STEP = 1e-30  # of a block, and of a query: float32 has few digits left below it, and a query of zeros must not divide by 0
EPSILON = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Int8Tensors:
    """What the bounds are made of.

    `pieces` int8 [d, items of the piece] each, in the index's own file. `step`, `error` and `norm` float32 [blocks]: the size of
    the block's int8 steps, the most that |v - v'| can be in it, and the largest |v'|. `rotation` float32 [d, d].
    """

    pieces: list[ExternalTensor]
    step: Float32Array
    error: Float32Array
    norm: Float32Array
    rotation: Float32Array


def write(folder: Path, table: EmbeddingTable, formula: Formula) -> Int8Tensors:
    """Write `screen.bin`, the int8 copy of the items as `formula` multiplies them; returns all that its graph needs."""
    rotation = rotation_of((_as_multiplied(rows, formula) for _, rows in table.blocks()), table.width)
    pieces: list[ExternalTensor] = []
    steps, errors, norms = [], [], []
    with open(folder / contract.SCREEN_TENSORS, "wb") as file:
        for rows in _item_pieces(table, formula):
            rotated = rows @ rotation
            steps.append(_block_steps(rotated))
            scale = np.repeat(steps[-1].astype(np.float64), contract.BLOCK)[:, None]
            levels = np.clip(np.round(rotated / scale), -LEVELS, LEVELS)
            pieces.append(_append(file, len(pieces), levels.astype(np.int8)))
            rounded = levels * scale
            errors.append(_longest_in_blocks(rotated - rounded) + _float32_slack(table.width) * _longest_in_blocks(rows))
            norms.append(_longest_in_blocks(rounded))
    return Int8Tensors(
        pieces=pieces,
        step=np.concatenate(steps),
        error=_round_up(np.concatenate(errors)),
        norm=_round_up(np.concatenate(norms)),
        rotation=rotation.astype(np.float32),
    )


def _item_pieces(table: EmbeddingTable, formula: Formula) -> Iterator[Float64Array]:
    """The items, a piece at a time, each of whole blocks: zeros fill the last."""
    size = PIECE_ITEMS if table.row_count < MANY_ITEMS else LARGE_PIECE_ITEMS
    for start in range(0, table.row_count, size):
        rows = _as_multiplied(np.asarray(table.values[start : start + size]), formula)
        yield np.pad(rows, ((0, padded(len(rows)) - len(rows)), (0, 0)))


def _as_multiplied(rows: NDArray[np.float32], formula: Formula) -> Float64Array:
    # The float32 values that stand in the item table are what the bound has to hold for, not the float64 ones before them.
    return formula.vectors(rows).astype(np.float32).astype(np.float64)


def _block_steps(rotated: Float64Array) -> Float32Array:
    """The size of each block's int8 steps, [blocks]; 1 where a block's numbers are so small that all are rounded to 0.

    A step for each block, not for each piece, so that one row of huge length makes its own block's bound wide and no other's.
    """
    peaks = np.abs(rotated).reshape(-1, contract.BLOCK * rotated.shape[1]).max(axis=1)
    # Rounded to float32 before anything is divided by it: the graph multiplies by the float32 step, and must get these values back.
    steps = (peaks / LEVELS).astype(np.float32)
    return np.where(steps > SMALLEST_STEP, steps, np.float32(1))


def _float32_slack(dim: int) -> float:
    """By how much float32 arithmetic may lift a product of two vectors of length 1 above its bound.

    The bound is proved for exact numbers, but the service rotates the query, adds up the bound and rescores the items in float32.
    A float32 sum of d products is off by at most about d·u·|q||v|, with u = EPSILON / 2 the unit roundoff (Higham, Accuracy and
    Stability of Numerical Algorithms, 2nd ed., section 3.1). Each rotated number and the rescored product are such sums, and the
    bound is a few operations more: the allowance is four such sums and 64 operations. If every rotated number erred to the utmost
    in the worst direction, that could be too little. Rounding errors don't, and parity checks every block's bound for some users.
    """
    return 2 * (dim + 16) * EPSILON


def _longest_in_blocks(rows: Float64Array) -> Float64Array:
    """The largest length of a row in each block: [n * BLOCK, d] -> [n]."""
    lengths: Float64Array = np.linalg.norm(rows, axis=1).reshape(-1, contract.BLOCK).max(axis=1)
    return lengths


def _round_up(values: Float64Array) -> Float32Array:
    # astype rounds to the nearest, which may be below: the next float32 never is, and a bound that is too low proves nothing.
    return np.nextafter(values.astype(np.float32), np.float32(np.inf))


def _append(file: BinaryIO, number: int, levels: NDArray[np.int8]) -> ExternalTensor:
    offset = page_after(file.tell())
    file.seek(offset)
    file.write(np.ascontiguousarray(levels.T).tobytes())
    return ExternalTensor(f"items8_{number}", (levels.shape[1], levels.shape[0]), offset, np.dtype(np.int8))
