"""Projects a table of vectors on a plane: on the two directions in which it varies most (principal components)."""

from dataclasses import dataclass

import numpy as np

from recoserve.bundle.arrays import Float32Array, Float64Array, Rows
from recoserve.inspection.vectors import slices

MAX_POINTS = 3000
SEED = 0


@dataclass(frozen=True)
class Plane:
    """The rows of a table that are drawn, `rows` int64 [P], at `points` float64 [P, 2].

    `shares` are the shares of the table's variance along each axis, 0 to 1; `row_count` is the number of rows in the table.
    """

    rows: Rows
    points: Float64Array
    shares: tuple[float, float]
    row_count: int


def plane(table: Float32Array, max_points: int = MAX_POINTS) -> Plane:
    """The rows of a table, float32 [n, d], on the two axes of largest variance; a seeded sample of them above `max_points`.

    The axes are computed from all rows, so a point lies at the same place whether it is drawn in a sample or not.
    """
    mean = sum(vectors.sum(axis=0) for vectors in slices(table)) / len(table)
    axes, shares = _principal_axes(table, mean)
    rows = np.arange(len(table), dtype=np.int64)
    if len(rows) > max_points:
        rows = np.sort(np.random.default_rng(SEED).choice(rows, max_points, replace=False))
    return Plane(rows, (np.asarray(table[rows], np.float64) - mean) @ axes, shares, len(table))


def _principal_axes(table: Float32Array, mean: Float64Array) -> tuple[Float64Array, tuple[float, float]]:
    """The two axes, float64 [d, 2], of length 1, and the share of the variance along each; if d is 1, the second axis is zero."""
    dim = table.shape[1]
    scatter = np.zeros((dim, dim))
    for vectors in slices(table):
        centred = vectors - mean
        scatter += centred.T @ centred
    eigenvalues, eigenvectors = np.linalg.eigh(scatter)
    axes = np.zeros((dim, 2))
    axes[:, : min(2, dim)] = eigenvectors[:, ::-1][:, :2]
    # An eigenvector's sign is arbitrary; with its largest component positive, one bundle always gives the same map.
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1)
    variance = float(np.trace(scatter))
    shares = [max(0.0, float(value)) / variance if variance > 0 else 0.0 for value in eigenvalues[::-1][:2]]
    return axes, (shares[0], shares[1] if dim > 1 else 0.0)
