"""The rotation of a table before it is rounded to int8: most of its energy into the leading dimensions, spread evenly among them.

The energy of a dimension is the sum of its squares. The dimensions become the principal axes of the items, largest first. Then the
leading ones (`recoserve.bundle.leading_dimensions`) are mixed by one orthogonal matrix and the others by another, each random but
for this: it gives every dimension the same energy. A dimension that stood out would make a block's int8 steps coarse for all of
them. A table without leading dimensions is mixed by one matrix. Neither changes a product.
"""

from collections.abc import Iterable

import numpy as np

from recoserve.bundle.arrays import Float64Array
from recoserve.bundle.leading_dimensions import ENERGY_SHARE, count_leading_dimensions

# Of the energy. No file says how many dimensions lead: the service counts them again in the int8 copy, where rounding has moved
# some of the energy. So an export asks for a little more than the service does.
ROUNDING_MARGIN = 0.01
EVEN = 1e-12  # of the largest energy: what a dimension may have above the mean and still count as even


def rotation_of(table: Iterable[Float64Array], dim: int) -> Float64Array:
    """The orthogonal matrix float64 [d, d] that the items are multiplied by; `table` gives their rows, float64 [n, d] at a time."""
    moments = np.zeros((dim, dim))
    for rows in table:
        moments += rows.T @ rows
    energy, axes = np.linalg.eigh(moments)  # ascending
    energy, axes = np.maximum(energy[::-1], 0), axes[:, ::-1]
    leading = count_leading_dimensions(energy, ENERGY_SHARE + ROUNDING_MARGIN)
    ranges = (slice(leading), slice(leading, dim)) if leading < dim else (slice(dim),)
    return np.hstack([axes[:, dimensions] @ even_mix(energy[dimensions]) for dimensions in ranges])


def even_mix(energy: Float64Array) -> Float64Array:
    """An orthogonal matrix [n, n] that gives each of n axes of this `energy` [n] the mean of it; equal energies, equal matrices.

    A random one comes near. Then the two dimensions with the least and the most are rotated in their plane, again and again, until
    the first of them has the mean: n - 1 such plane (Jacobi) rotations at most, for each makes one dimension even for good.
    """
    mix, shares = random_rotation(len(energy)), energy / (energy.max() or 1.0)
    # The mixed axes' moments less the mean: the diagonal is what each dimension has above the mean.
    excess = mix.T @ (shares[:, None] * mix) - shares.mean() * np.eye(len(energy))
    for _ in range(len(energy) - 1):
        pair = [int(excess.diagonal().argmin()), int(excess.diagonal().argmax())]
        (least, cross), (_, most) = excess[np.ix_(pair, pair)]
        if most <= EVEN or least >= 0:
            break
        # least < 0 < most, so least + 2 * cross * tangent + most * tangent² = 0, the first one's new excess, has a real root.
        tangent = (np.sqrt(cross**2 - least * most) - cross) / most
        cosine = 1 / np.hypot(1, tangent)
        plane_rotation = cosine * np.array([[1, -tangent], [tangent, 1]])
        mix[:, pair] = mix[:, pair] @ plane_rotation
        excess[:, pair] = excess[:, pair] @ plane_rotation
        excess[pair] = plane_rotation.T @ excess[pair]
    return mix


def random_rotation(dim: int) -> Float64Array:
    """A random orthogonal matrix float64 [d, d], the same for every bundle of one dimension, so that an export can be repeated."""
    return np.linalg.qr(np.random.default_rng(dim).standard_normal((dim, dim)))[0]
