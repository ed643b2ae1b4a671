"""How a table is turned before it is rounded to int8: most of its energy into the first dimensions, and evenly within them.

The dimensions become the principal axes of the items, largest first. The leading ones (see `bundle.leading_dimensions`) are mixed
by one orthogonal matrix and the others by another, random but for this: each leaves every dimension as much energy as its
neighbours, so that rounding loses little. A table without a head is mixed as a whole. No turn changes a product.
"""

from collections.abc import Iterable

import numpy as np

from recoserve.bundle.arrays import Float64Array
from recoserve.bundle.leading_dimensions import ENERGY_SHARE, count_leading_dimensions

MARGIN = 0.01  # of the energy: rounding to int8 moves some, and the head has to be found in what is rounded
EVEN = 1e-12  # of the largest energy: what a dimension may have above the mean


def rotation_of(chunks: Iterable[Float64Array], dim: int) -> Float64Array:
    """The orthogonal matrix that the items are multiplied by: their rows, float64 [n, d] in chunks -> float64 [d, d]."""
    moments = np.zeros((dim, dim))
    for rows in chunks:
        moments += rows.T @ rows
    energy, axes = np.linalg.eigh(moments)
    energy, axes = np.maximum(energy[::-1], 0), axes[:, ::-1]
    head = count_leading_dimensions(energy, ENERGY_SHARE + MARGIN)
    parts = (slice(head), slice(head, dim)) if head < dim else (slice(dim),)
    return np.hstack([axes[:, part] @ even_mix(energy[part]) for part in parts])


def even_mix(energy: Float64Array) -> Float64Array:
    """An orthogonal matrix [n, n] after which axes of this `energy` [n] have the mean of it each; the same for the same energies.

    A random one comes near. Then, again and again, the two dimensions with the least and the most are turned in their plane until
    the first of them has the mean: n - 1 turns at most.
    """
    mix, shares = random_rotation(len(energy)), energy / (energy.max() or 1.0)
    off = mix.T @ (shares[:, None] * mix) - shares.mean() * np.eye(len(energy))
    for _ in range(len(energy) - 1):
        pair = [int(off.diagonal().argmin()), int(off.diagonal().argmax())]
        (least, both), (_, most) = off[np.ix_(pair, pair)]
        if most <= EVEN or least >= 0:
            break
        tangent = (np.sqrt(both**2 - least * most) - both) / most  # the root of least + 2 * both * tangent + most * tangent²
        cosine = 1 / np.hypot(1, tangent)
        turn = cosine * np.array([[1, -tangent], [tangent, 1]])
        mix[:, pair] = mix[:, pair] @ turn
        off[:, pair] = off[:, pair] @ turn
        off[pair] = turn.T @ off[pair]
    return mix


def random_rotation(dim: int) -> Float64Array:
    """A random orthogonal matrix, the same for every bundle of one dimension; float64 [d, d]."""
    return np.linalg.qr(np.random.default_rng(dim).standard_normal((dim, dim)))[0]
