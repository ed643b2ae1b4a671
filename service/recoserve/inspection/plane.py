"""From vectors to a plane: the two directions in which a table varies most (principal components)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recoserve.inspection.vectors import Exact, Table, blocks

MOST_POINTS = 3000
SEED = 0


@dataclass(frozen=True)
class Plane:
    """A table laid out flat: `rows` int64 [P] are those drawn, `points` float64 [P, 2] where they lie.

    `shares` are the parts of the whole table's variance that the two axes hold, 0 to 1; `of` is the table's number of rows.
    """

    rows: NDArray[np.int64]
    points: Exact
    shares: tuple[float, float]
    of: int


def plane(table: Table, most: int = MOST_POINTS) -> Plane:
    """Project on the two axes of largest variance, which come from all rows; above `most` rows, a seeded sample is drawn.

    The sign of an axis is fixed by its largest component, so that one bundle always gives one map.
    """
    mean = sum(block.sum(axis=0) for _, block in blocks(table)) / len(table)
    axes, shares = _axes(table, mean)
    rows = np.arange(len(table), dtype=np.int64)
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(SEED).choice(rows, most, replace=False))
    return Plane(rows, (np.asarray(table[rows], np.float64) - mean) @ axes, shares, len(table))


def _axes(table: Table, mean: Exact) -> tuple[Exact, tuple[float, float]]:
    """Axes float64 [d, 2] of length 1 and the share of each; where d is 1, the second is zero."""
    width = table.shape[1]
    spread = np.zeros((width, width))
    for _, block in blocks(table):
        centred = block - mean
        spread += centred.T @ centred
    values, vectors = np.linalg.eigh(spread)
    axes = np.zeros((width, 2))
    axes[:, : min(2, width)] = vectors[:, ::-1][:, :2]
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1)
    total = float(np.trace(spread))
    found = [max(0.0, float(value)) / total if total > 0 else 0.0 for value in values[::-1][:2]]
    return axes, (found[0], found[1] if width > 1 else 0.0)
