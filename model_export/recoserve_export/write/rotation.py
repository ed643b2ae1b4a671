"""The rotation of the items before they are rounded to int8: it moves most of their energy into the leading dimensions, evenly.

The energy of a dimension is the sum of its squares. The dimensions become the principal axes of the items, largest first. Then the
leading ones (`recoserve.bundle.leading_dimensions`) are mixed by one orthogonal matrix and the others by another. Each matrix is
random, except that it gives all its dimensions the same energy: a dimension with more would make the int8 steps coarse for all. A
table without leading dimensions is mixed by one matrix. None of this changes a product.
"""

from collections.abc import Iterable

import numpy as np

from recoserve.bundle.arrays import Float64Array
from recoserve.bundle.leading_dimensions import ENERGY_SHARE, count_leading_dimensions

# A share of the energy. The bundle doesn't record how many dimensions lead: the service counts them again in the int8 index, where
# rounding has changed the energies a little. So the export requires a slightly larger share than the service does.
ROUNDING_MARGIN = 0.01
EVEN_TOLERANCE = 1e-12  # a dimension's energy may exceed the mean by this share of the largest energy


def rotation_of(table: Iterable[Float64Array], dim: int) -> Float64Array:
    """The orthogonal matrix that items are multiplied by, float64 [d, d]; `table` yields their rows, float64 [n, d] at a time."""
    moments = np.zeros((dim, dim))
    for rows in table:
        moments += rows.T @ rows
    energy, axes = np.linalg.eigh(moments)  # ascending
    energy, axes = np.maximum(energy[::-1], 0), axes[:, ::-1]
    leading_count = count_leading_dimensions(energy, ENERGY_SHARE + ROUNDING_MARGIN)
    ranges = (slice(leading_count), slice(leading_count, dim)) if leading_count < dim else (slice(dim),)
    return np.hstack([axes[:, dimensions] @ even_mix(energy[dimensions]) for dimensions in ranges])


def even_mix(energy: Float64Array) -> Float64Array:
    """An orthogonal matrix float64 [n, n] that mixes n axes of this `energy` [n] so that all get its mean; it is deterministic.

    A random matrix comes near. Then the dimensions with the least and the most energy are rotated in their plane (a Jacobi
    rotation) so that the first of them gets the mean. That dimension isn't rotated again, so n - 1 such rotations are enough.
    """
    mix, shares = random_rotation(len(energy)), energy / (energy.max() or 1.0)
    # The mixed axes' moments minus the mean energy on the diagonal, which is then the excess of each dimension over the mean.
    excess = mix.T @ (shares[:, None] * mix) - shares.mean() * np.eye(len(energy))
    for _ in range(len(energy) - 1):
        pair = [int(excess.diagonal().argmin()), int(excess.diagonal().argmax())]
        (least, cross), (_, most) = excess[np.ix_(pair, pair)]
        if most <= EVEN_TOLERANCE or least >= 0:
            break
        # With this tangent the first dimension's new excess, least + 2 * cross * tangent + most * tangent², is 0. The root is real,
        # since least < 0 < most.
        tangent = (np.sqrt(cross**2 - least * most) - cross) / most
        cosine = 1 / np.hypot(1, tangent)
        plane_rotation = cosine * np.array([[1, -tangent], [tangent, 1]])
        mix[:, pair] = mix[:, pair] @ plane_rotation
        excess[:, pair] = excess[:, pair] @ plane_rotation
        excess[pair] = plane_rotation.T @ excess[pair]
    return mix


def random_rotation(dim: int) -> Float64Array:
    """A random orthogonal matrix float64 [d, d]; the same for every export of vectors of `dim` numbers, so that exports repeat."""
    return np.linalg.qr(np.random.default_rng(dim).standard_normal((dim, dim)))[0]
