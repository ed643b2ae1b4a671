"""What a dot model is: two tables, and which closed form its own score has."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float64Array, Rows
from recoserve.bundle.golden import score_difference
from recoserve.errors import ExportRefused
from recoserve_export.graph import monotone_tail
from recoserve_export.graph.monotone_tail import Tail
from recoserve_export.sampling import sample_pairs

CHUNK_ELEMENTS = 1 << 22  # 32 MiB of float64 at a time
UNEXPLAINED = (
    "the model's score is not one dot product of a user and an item vector (a bias, dense layers, a scale factor?): its own scores "
    "differ from dot, cosine, sigmoid(dot) and sigmoid(cosine) of its tables, by {difference:.3g} at best. "
    "To serve the vectors alone, save both tables as .npy and export those"
)


@dataclass(frozen=True)
class Table:
    """One side's vectors, raw: `values` float32 [rows, width], an array or a memory map; `name` as the framework has it."""

    name: str
    values: NDArray[np.float32]

    @property
    def rows(self) -> int:
        return int(self.values.shape[0])

    @property
    def width(self) -> int:
        return int(self.values.shape[1])

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(first row, rows) in pieces of bounded size."""
        step = max(1, CHUNK_ELEMENTS // self.width)
        return ((at, np.asarray(self.values[at : at + step])) for at in range(0, self.rows, step))


@dataclass(frozen=True)
class DotSource:
    """A model that comes down to two tables.

    `scores` is the framework's own forward on pairs, (int64 [P], int64 [P]) -> float64 [P]; None for plain tables.
    `structure` is the form that the model's graph shows, where it can be read; `own` the form that it was taken apart to;
    `plain` tells that the tables are the model's own two vectors; `digest` is the SHA-256 of the source file, and `notes` are what
    the report has to tell.
    """

    framework: str
    versions: Mapping[str, str]
    name: str
    users: Table
    items: Table
    scores: Callable[[Rows, Rows], Float64Array] | None = None
    structure: str | None = None
    digest: str | None = None
    own: "Formula | None" = None
    plain: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Formula:
    """A closed form of a score: a dot product or a cosine, and a strictly increasing tail behind it, such as a sigmoid."""

    cosine: bool
    tail: Tail = ()

    def __str__(self) -> str:
        return monotone_tail.written(self.tail, "cosine" if self.cosine else "dot")

    def vectors(self, block: NDArray[np.floating[Any]]) -> Float64Array:
        """Rows as this form multiplies them, float64: of length 1 for a cosine, where a zero row stays zero."""
        exact = np.asarray(block, np.float64)
        return unit_rows(exact) if self.cosine else exact

    def finish(self, products: Float64Array) -> Float64Array:
        """The score that belongs to each product."""
        return monotone_tail.finish(self.tail, products)


FORMULAS = tuple(Formula(cosine, end) for end in ((), monotone_tail.SIGMOID) for cosine in (False, True))


def unit_rows(rows: Float64Array) -> Float64Array:
    """Divide each row by its length; a zero row stays zero."""
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    found: Float64Array = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return found


def check_tables(users: Table, items: Table) -> None:
    """Raise ExportRefused unless both tables have rows, equal widths and finite numbers."""
    for table in (users, items):
        if not table.rows or not table.width:
            raise ExportRefused(f"table {table.name!r} of shape [{table.rows}, {table.width}] is empty")
    check_widths(("user", users.name, users.width), ("item", items.name, items.width))
    for table in (users, items):
        _check_finite(table)


def check_widths(*sides: tuple[str, str, int]) -> None:
    """Raise ExportRefused unless both (side, table, width) have the same width."""
    (_, user, wide), (_, item, width) = sides
    if wide != width:
        raise ExportRefused(
            f"user table {user!r} is {wide} wide, item table {item!r} {width}: a dot product needs equal widths. "
            "Train both embeddings with the same output dimension"
        )


def _check_finite(table: Table) -> None:
    for at, block in table.blocks():
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if len(bad):
            raise ExportRefused(
                f"table {table.name!r} holds NaN or infinity, first in row {at + int(bad[0])}: no ranking can come of it. "
                "Did training diverge? A lower learning rate or clipped gradients help"
            )


def recognise(source: DotSource) -> tuple[Formula | None, int, float]:
    """Which form the model's own score has, on how many pairs that was compared, and the largest difference on them.

    None for plain tables, which have no score. Raises ExportRefused where no form, or not the one it came with, explains the score.
    """
    if source.scores is None:
        return None, 0, 0.0
    users, items = sample_pairs(source.users.rows, source.items.rows)
    found = source.scores(users, items)
    if source.own:
        return source.own, len(users), _own_misfit(source, source.own, users, items, found)
    trials = [(form, *_misfit(source, form, users, items, found)) for form in FORMULAS]
    fitting = [(str(form) != source.structure, place, form, gap) for place, (form, gap, fits) in enumerate(trials) if fits]
    if not fitting:
        raise ExportRefused(UNEXPLAINED.format(difference=min(gap for _, gap, _ in trials)))
    _, _, form, gap = min(fitting, key=lambda trial: trial[:2])  # where several fit, the graph's own form, or the simplest
    return form, len(users), gap


def _own_misfit(source: DotSource, own: Formula, users: Rows, items: Rows, found: Float64Array) -> float:
    """Largest difference from the form that a model was taken apart to, whose vectors a network of any depth may have made."""
    left, right = own.vectors(source.users.values[users]), own.vectors(source.items.values[items])
    gap, close = score_difference(found, own.finish(np.einsum("pd,pd->p", left, right)))
    if not close:
        raise ExportRefused(
            f"parity failed, so no bundle was written: {own} of its vectors differs from the model's score by {gap:.3g}"
        )
    return gap


def _misfit(source: DotSource, form: Formula, users: Rows, items: Rows, found: Float64Array) -> tuple[float, bool]:
    """Largest difference from one form, and whether float32 rounding explains every difference."""
    left, right = form.vectors(source.users.values[users]), form.vectors(source.items.values[items])
    products, reach = np.einsum("pd,pd->p", left, right), np.einsum("pd,pd->p", np.abs(left), np.abs(right))
    gaps = np.abs(form.finish(products) - found)
    # Rounding grows with the terms that are added, not with their sum; a sigmoid's slope is at most 1/4, its value at most 1.
    scale = reach / 4 + 1 if form.tail else reach
    room = (16 + source.users.width / 4) * np.finfo(np.float32).eps * scale + 1e-30
    return float(gaps.max()), bool(np.all(gaps <= room))
