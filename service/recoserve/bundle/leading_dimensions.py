"""Counts the leading principal dimensions: those that hold most of a table's energy, and so decide most of each score.

The exporter rotates the items to their principal axes. The kernel multiplies the leading dimensions of a tile first, and the others
only if the bound that follows from those reaches the k-th score. No file holds the number of leading dimensions: exporter and
kernel compute it by this rule. So older bundles, whose items are rotated in another way, are served too, if more slowly.
"""

import numpy as np

from recoserve.bundle.arrays import Float64Array

QUAD = 4  # dimensions that the kernel multiplies at once; the leading ones are a multiple of it
ENERGY_SHARE = 0.75  # of the table's energy: the leading dimensions hold at least this
SMALLEST_SHARE = 0.375  # of the dimensions: energy in fewer of them makes the int8 steps coarse, and every bound loose
LARGEST_SHARE = 0.6  # of the dimensions: where more of them lead, too little is saved


def count_leading_dimensions(energy: Float64Array, share: float = ENERGY_SHARE) -> int:
    """The smallest multiple of `QUAD` leading dimensions that hold `share` of the energy, but at least about `SMALLEST_SHARE` of d.

    `energy` float64 [d] is the sum of the squares in each dimension, of any scale. Returns d, so that no dimensions lead, where
    there would be more than `LARGEST_SHARE` of them, and where the energy is zero throughout or not finite.
    """
    dim, peak = len(energy), energy.max(initial=0)
    if not 0 < peak < np.inf:
        return dim
    cumulative = np.cumsum(energy / peak)  # divided first: a sum of squares near the largest float64 would be infinite
    quads = max(int(np.searchsorted(cumulative, share * cumulative[-1])) // QUAD + 1, round(SMALLEST_SHARE * dim / QUAD))
    return quads * QUAD if quads * QUAD <= LARGEST_SHARE * dim else dim
