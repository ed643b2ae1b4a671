"""The head of a table: its first dimensions, where they hold most of its energy, so that a product of them alone tells most."""

import numpy as np
from numpy.typing import NDArray

QUAD = 4  # dimensions that are multiplied at once; a head is whole ones
ENERGY_SHARE = 0.75  # of the energy, for the head to hold at least
SMALLEST_SHARE = 0.375  # of the dimensions: energy in fewer of them makes the int8 steps coarse, and every bound wide
LARGEST_SHARE = 0.6  # of the dimensions: a larger head spares too little of the rest


def count_leading_dimensions(energy: NDArray[np.float64], share: float = ENERGY_SHARE) -> int:
    """How many dimensions the head has: the fewest whole quads that hold `share` of the energy, or all where those are too many.

    `energy` float64 [d] is the sum of the squares in each dimension, of any scale; where it is zero throughout, or not finite,
    there is no head, and all d are returned.
    """
    dim, peak = len(energy), energy.max(initial=0)
    if not 0 < peak < np.inf:
        return dim
    held = np.cumsum(energy / peak)
    quads = max(int(np.searchsorted(held, share * held[-1])) // QUAD + 1, round(SMALLEST_SHARE * dim / QUAD))
    return quads * QUAD if quads * QUAD <= LARGEST_SHARE * dim else dim
