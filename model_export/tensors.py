"""The tables of a bundle in one file of raw float32, written in pieces: never a second whole copy in memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from model_export.formula import Formula, Table
from service.bundle import contract


@dataclass(frozen=True)
class Span:
    """Where one tensor lies in the file: `offset` and `length` in bytes."""

    name: str
    dims: tuple[int, int]
    offset: int
    length: int


def write(path: Path, users: Table, items: Table, formula: Formula) -> tuple[Span, Span]:
    """Write `user_table` float32 [U, d] and `item_table` float32 [d, N], each from a page's start, as `formula` multiplies them."""
    user_span = Span(contract.USER_TABLE, (users.rows, users.width), 0, 4 * users.rows * users.width)
    start = -(-user_span.length // contract.PAGE) * contract.PAGE
    item_span = Span(contract.ITEM_TABLE, (items.width, items.rows), start, 4 * items.rows * items.width)
    with open(path, "wb") as file:
        for _, block in users.blocks():
            file.write(formula.vectors(block).astype("<f4").tobytes())
        _write_columns(file, start, items, formula)
    return user_span, item_span


def _write_columns(file: BinaryIO, start: int, items: Table, formula: Formula) -> None:
    for at, block in items.blocks():
        columns = np.ascontiguousarray(formula.vectors(block).astype("<f4").T)
        for axis, column in enumerate(columns):
            file.seek(start + 4 * (axis * items.rows + at))
            file.write(column.tobytes())
