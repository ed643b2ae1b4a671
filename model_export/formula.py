"""What a dot model is: two tables, and which closed form its own score has; the float64 reference for both."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_export import tail
from model_export.tail import Tail
from service.errors import ExportRefused

Rows = NDArray[np.int64]
Scores = NDArray[np.float64]

CHUNK_ELEMENTS = 1 << 22  # 32 MiB of float64 at a time
PAIRS = 4096
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
    `structure` is the form that the model's graph shows, where it can be read; `digest` the SHA-256 of the source file.
    """

    framework: str
    versions: Mapping[str, str]
    name: str
    users: Table
    items: Table
    scores: Callable[[Rows, Rows], Scores] | None = None
    structure: str | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Formula:
    """A closed form of a score: a dot product or a cosine, and a strictly increasing tail behind it, such as a sigmoid."""

    cosine: bool
    tail: Tail = ()

    def __str__(self) -> str:
        return tail.written(self.tail, "cosine" if self.cosine else "dot")

    def vectors(self, block: NDArray[np.floating[Any]]) -> Scores:
        """Rows as this form multiplies them, float64: of length 1 for a cosine, where a zero row stays zero."""
        exact = np.asarray(block, np.float64)
        return unit_rows(exact) if self.cosine else exact

    def finish(self, products: Scores) -> Scores:
        """The score that belongs to each product."""
        return tail.finish(self.tail, products)


FORMULAS = tuple(Formula(cosine, end) for end in ((), tail.SIGMOID) for cosine in (False, True))


def unit_rows(rows: Scores) -> Scores:
    """Divide each row by its length; a zero row stays zero."""
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    found: Scores = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
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


class Reference:
    """Float64 brute force over the framework's own tables."""

    def __init__(self, users: Table, items: Table, formula: Formula) -> None:
        self.users, self.items, self.formula = users, items, formula

    def products(self, user_rows: Rows, item_rows: Rows) -> Scores:
        """Every user with every item, before `finish`: [S], [M] -> [S, M]."""
        return self._of(self.users, user_rows) @ self._of(self.items, item_rows).T

    def paired(self, user_rows: Rows, item_rows: Rows) -> Scores:
        """Each user with items of its own, before `finish`: [S], [S, K] -> [S, K]."""
        items = self._of(self.items, item_rows.reshape(-1)).reshape(*item_rows.shape, -1)
        return np.asarray(np.einsum("sd,skd->sk", self._of(self.users, user_rows), items))

    def reach(self, user_rows: Rows) -> Scores:
        """The largest product that each user's vector could have with any item, [S, 1]; 1 where it is zero."""
        lengths = np.linalg.norm(self._of(self.users, user_rows), axis=1, keepdims=True) * self._longest
        return np.where(lengths > 0, lengths, 1.0)

    @cached_property
    def _longest(self) -> float:
        return max(float(np.linalg.norm(self.formula.vectors(block), axis=1).max()) for _, block in self.items.blocks())

    def top(self, user_rows: Rows, k: int) -> tuple[Rows, Scores]:
        """The k best items of each user and their products, best first, the lower row first among equals."""
        queries = self._of(self.users, user_rows)
        rows, products = np.zeros((len(user_rows), 0), np.int64), np.zeros((len(user_rows), 0))
        for at, block in self.items.blocks():
            found = queries @ self.formula.vectors(block).T
            here = np.broadcast_to(np.arange(at, at + len(block)), found.shape)
            rows, products = _best(np.hstack([rows, here]), np.hstack([products, found]), k)
        order = np.lexsort((rows, -products))
        return np.take_along_axis(rows, order, 1), np.take_along_axis(products, order, 1)

    def _of(self, table: Table, rows: Rows) -> Scores:
        return self.formula.vectors(np.asarray(table.values[rows]))


def _best(rows: Rows, products: Scores, k: int) -> tuple[Rows, Scores]:
    if rows.shape[1] <= k:
        return rows, products
    keep = np.argpartition(-products, k - 1, axis=1)[:, :k]
    return np.take_along_axis(rows, keep, 1), np.take_along_axis(products, keep, 1)


def sample_rows(count: int, size: int, seed: int) -> Rows:
    """`size` distinct rows of `count` (all of them where there are no more), ascending, the first and the last among them."""
    if size >= count:
        return np.arange(count)
    inner = np.random.default_rng(seed).choice(count - 2, size - 2, replace=False) + 1 if size > 2 else np.zeros(0, np.int64)
    return np.unique(np.concatenate([inner, [0, count - 1]])).astype(np.int64)


def sample_pairs(users: int, items: int) -> tuple[Rows, Rows]:
    """Up to `PAIRS` distinct pairs, the corners of the matrix among them; every pair where there are no more."""
    return tuple(np.divmod(sample_rows(users * items, PAIRS, seed=2), items))  # type: ignore[return-value]


def recognise(source: DotSource) -> tuple[Formula | None, int, float]:
    """Which form the model's own score has, on how many pairs that was compared, and the largest difference on them.

    None for plain tables, which have no score. Raises ExportRefused where no form explains the score.
    """
    if source.scores is None:
        return None, 0, 0.0
    users, items = sample_pairs(source.users.rows, source.items.rows)
    found = source.scores(users, items)
    trials = [(form, *_misfit(source, form, users, items, found)) for form in FORMULAS]
    fitting = [(str(form) != source.structure, place, form, gap) for place, (form, gap, fits) in enumerate(trials) if fits]
    if not fitting:
        raise ExportRefused(UNEXPLAINED.format(difference=min(gap for _, gap, _ in trials)))
    _, _, form, gap = min(fitting, key=lambda trial: trial[:2])  # where several fit, the graph's own form, or the simplest
    return form, len(users), gap


def _misfit(source: DotSource, form: Formula, users: Rows, items: Rows, found: Scores) -> tuple[float, bool]:
    """Largest difference from one form, and whether float32 rounding explains every difference."""
    left, right = form.vectors(source.users.values[users]), form.vectors(source.items.values[items])
    products, reach = np.einsum("pd,pd->p", left, right), np.einsum("pd,pd->p", np.abs(left), np.abs(right))
    gaps = np.abs(form.finish(products) - found)
    # Rounding grows with the terms that are added, not with their sum; a sigmoid's slope is at most 1/4, its value at most 1.
    scale = reach / 4 + 1 if form.tail else reach
    room = (16 + source.users.width / 4) * np.finfo(np.float32).eps * scale + 1e-30
    return float(gaps.max()), bool(np.all(gaps <= room))
