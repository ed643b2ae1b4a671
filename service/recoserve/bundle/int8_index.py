"""The items rounded to int8, with the numbers from which upper bounds on their products are computed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float32Array


@dataclass(frozen=True)
class Int8Index:
    """The int8 items of a bundle, rotated, with three float32 values for each block of `contract.BLOCK` items.

    `pieces`: the item vectors, rotated by `rotation` float32 [d, d] and rounded, as memory maps int8 [d, items of the piece]; the
    bundle stores items in such pieces, one after another. For every block, float32 [blocks]: `step` is the value of an int8 1;
    `error` the largest Euclidean distance between an item and its int8 vector times `step`, rounding included; `norm` the largest
    length of an int8 vector times `step`.
    """

    pieces: tuple[NDArray[np.int8], ...]
    rotation: Float32Array
    step: Float32Array
    error: Float32Array
    norm: Float32Array
