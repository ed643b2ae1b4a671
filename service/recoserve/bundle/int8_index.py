"""The int8 copy of a bundle's items, and what bounds on their products are made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Int8Index:
    """What `screen.onnx` refers to, as arrays; the pieces are memory maps.

    `pieces` int8 [d, items of the piece] each, turned by `rotation` float32 [d, d]. For every block of items: `step` float32
    [blocks] is what 1 in the copy is worth, `error` the longest difference between an item and its copy, rounding included, and
    `norm` the longest copy.
    """

    pieces: tuple[NDArray[np.int8], ...]
    rotation: NDArray[np.float32]
    step: NDArray[np.float32]
    error: NDArray[np.float32]
    norm: NDArray[np.float32]
