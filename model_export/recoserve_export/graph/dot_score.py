"""Models whose score is one dot product of a user's and an item's vector: their two tables, and the formula of their score.

The formula is a dot product or a cosine, alone or with a monotone tail behind it, such as `sigmoid(dot)`.
"""

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

BLOCK_ELEMENTS = 1 << 22  # 32 MiB as float64: a table may be a memory map that is larger than the memory
UNEXPLAINED = (
    "the model's score is not one dot product of a user and an item vector (a bias, dense layers, a scale factor?): its own scores "
    "differ from dot, cosine, sigmoid(dot) and sigmoid(cosine) of its tables, by {difference:.3g} at best. "
    "To serve the vectors alone, save both tables as .npy and export those"
)


@dataclass(frozen=True)
class EmbeddingTable:
    """The vectors of all users or of all items: `values` float32 [rows, width], an array or a memory map, not normalised.

    `name` is the framework's own name of the table, which error messages quote.
    """

    name: str
    values: NDArray[np.float32]

    @property
    def row_count(self) -> int:
        """How many users or items there are."""
        return int(self.values.shape[0])

    @property
    def width(self) -> int:
        """How many numbers a vector has."""
        return int(self.values.shape[1])

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The table in blocks of bounded size, each with the number of its first row."""
        size = max(1, BLOCK_ELEMENTS // self.width)
        return ((start, np.asarray(self.values[start : start + size])) for start in range(0, self.row_count, size))


@dataclass(frozen=True)
class DotSource:
    """A model whose score is one dot product: the two tables, and where they came from.

    `scores` is the framework's own forward on pairs, (user rows int64 [P], item rows int64 [P]) -> float64 [P]; None if the tables
    came without a model. `structure` is the formula that the model's layers show, such as "cosine"; None if they couldn't be read.
    `formula` is the one that partial evaluation derived, which `recognise` compares with the scores and tries no other; None if the
    model was not split. `uses_own_embeddings` is True if the tables are the model's own two embeddings, with no weight multiplied
    into them. `digest` is the SHA-256 of the source file; `notes` are warnings for the export's report.
    """

    framework: str
    versions: Mapping[str, str]
    name: str
    users: EmbeddingTable
    items: EmbeddingTable
    scores: Callable[[Rows, Rows], Float64Array] | None = None
    structure: str | None = None
    digest: str | None = None
    formula: "Formula | None" = None
    uses_own_embeddings: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Formula:
    """How a score is made of two vectors: their dot product or their cosine, then a monotone tail such as a sigmoid."""

    cosine: bool
    tail: Tail = ()

    def __str__(self) -> str:
        return monotone_tail.tail_formula(self.tail, "cosine" if self.cosine else "dot")

    def vectors(self, block: NDArray[np.floating[Any]]) -> Float64Array:
        """The vectors that the formula multiplies, float64: for a cosine scaled to length 1, but a zero row stays zero."""
        exact = np.asarray(block, np.float64)
        return unit_rows(exact) if self.cosine else exact

    def scores(self, products: Float64Array) -> Float64Array:
        """The score of each product of two such vectors: float64, of the shape of `products`."""
        return monotone_tail.apply_tail(self.tail, products)

    def products(self, users: NDArray[np.floating[Any]], items: NDArray[np.floating[Any]]) -> Float64Array:
        """The product of each row of `users` with the same row of `items`, float64 [P]."""
        products: Float64Array = np.einsum("pd,pd->p", self.vectors(users), self.vectors(items))
        return products


# Simplest first: if vectors are so short or so few that several formulas explain the scores, `recognise` prefers the first.
FORMULAS = tuple(Formula(cosine, tail) for tail in ((), monotone_tail.SIGMOID) for cosine in (False, True))


def unit_rows(rows: Float64Array) -> Float64Array:
    """Each row divided by its length, float64 [n, d]; a zero row stays zero."""
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    units: Float64Array = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return units


def check_tables(users: EmbeddingTable, items: EmbeddingTable) -> None:
    """Raise ExportRefused unless both tables have rows, equal widths and finite numbers."""
    for table in (users, items):
        if not table.row_count or not table.width:
            raise ExportRefused(f"table {table.name!r} is empty: its shape is [{table.row_count}, {table.width}]")
    check_widths((users.name, users.width), (items.name, items.width))
    for table in (users, items):
        _check_finite(table)


def check_widths(users: tuple[str, int], items: tuple[str, int]) -> None:
    """Raise ExportRefused unless the user and the item table, each given as (name, width), have the same width."""
    (user_table, user_width), (item_table, item_width) = users, items
    if user_width != item_width:
        raise ExportRefused(
            f"user table {user_table!r} is {user_width} wide, item table {item_table!r} {item_width}: a dot product needs "
            "equal widths. Train both embeddings with the same output dimension"
        )


def _check_finite(table: EmbeddingTable) -> None:
    for start, block in table.blocks():
        bad_rows = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if len(bad_rows):
            raise ExportRefused(
                f"table {table.name!r} holds NaN or infinity, first in row {start + int(bad_rows[0])}, and can't be ranked. "
                "Did training diverge? A lower learning rate or clipped gradients help"
            )


def recognise(source: DotSource) -> tuple[Formula | None, int, float]:
    """The formula of the model's score, the number of pairs on which it was compared, and the largest difference on them.

    For tables without a model the formula is None and both numbers are 0. Raises ExportRefused if no formula explains the model's
    scores, or if the one that partial evaluation derived doesn't.
    """
    if source.scores is None:
        return None, 0, 0.0
    user_rows, item_rows = sample_pairs(source.users.row_count, source.items.row_count)
    users, items = source.users.values[user_rows], source.items.values[item_rows]
    scores = source.scores(user_rows, item_rows)
    if source.formula:
        return source.formula, len(user_rows), _check_formula(source.formula, users, items, scores)
    trials = [(formula, *_compare(formula, users, items, scores)) for formula in FORMULAS]
    matching = [(formula, difference) for formula, difference, explained in trials if explained]
    if not matching:
        raise ExportRefused(UNEXPLAINED.format(difference=min(difference for _, difference, _ in trials)))
    # `min` takes the first of equals: if several formulas match, the one that the layers show wins, or else the simplest.
    formula, difference = min(matching, key=lambda match: str(match[0]) != source.structure)
    return formula, len(user_rows), difference


def _check_formula(formula: Formula, users: NDArray[np.float32], items: NDArray[np.float32], scores: Float64Array) -> float:
    """The largest difference between the model's scores of pairs and the formula's; raises ExportRefused if it is too large.

    The tolerance is that of a whole network, not of one dot product: any number of layers may have made the vectors.
    """
    difference, close = score_difference(scores, formula.scores(formula.products(users, items)))
    if not close:
        raise ExportRefused(
            f"parity failed, so no bundle was written: {formula} of its vectors differs from the model's score by {difference:.3g}"
        )
    return difference


def _compare(formula: Formula, users: NDArray[np.float32], items: NDArray[np.float32], scores: Float64Array) -> tuple[float, bool]:
    """The largest difference between the model's scores of pairs and the formula's; whether float32 rounding explains every one."""
    differences = np.abs(formula.scores(formula.products(users, items)) - scores)
    magnitudes = np.einsum("pd,pd->p", np.abs(formula.vectors(users)), np.abs(formula.vectors(items)))
    # Rounding grows with the terms that are added, not with their sum; a sigmoid's slope is at most 1/4, its value at most 1.
    scale = magnitudes / 4 + 1 if formula.tail else magnitudes
    # A float32 sum of d terms may be off by d/2 epsilons of them, but rarely is by more than a fraction of that: d/4 are allowed,
    # 16 for the lengths of a cosine and the sigmoid, and 1e-30 for products that are too small for float32.
    tolerances = (16 + users.shape[1] / 4) * np.finfo(np.float32).eps * scale + 1e-30
    return float(differences.max()), bool(np.all(differences <= tolerances))
