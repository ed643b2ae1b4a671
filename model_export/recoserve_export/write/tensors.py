"""The tables of a bundle in one file of raw float32, written in pieces: never a second whole copy in memory."""

import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle import contract
from recoserve_export.graph.dot_score import Formula, Table

FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True)
class Span:
    """Where one tensor lies in the file: `offset` in bytes."""

    name: str
    dims: tuple[int, ...]
    offset: int
    dtype: np.dtype[Any] = FLOAT32

    @property
    def length(self) -> int:
        """In bytes."""
        return prod(self.dims) * self.dtype.itemsize


class Layout:
    """A tensor file that grows: every tensor from a page's start, zeros where nothing is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = 0
        path.touch()

    def reserve(self, name: str, dims: tuple[int, ...], dtype: np.dtype[Any]) -> Span:
        """Room for one more tensor."""
        span = Span(name, dims, -(-self._end // contract.PAGE) * contract.PAGE, dtype)
        self._end = span.offset + span.length
        os.truncate(self._path, self._end)
        return span

    def write(self, span: Span, row: int, values: NDArray[Any]) -> None:
        """Rows of a tensor, from `row` on."""
        with open(self._path, "r+b") as file:
            file.seek(span.offset + row * prod(span.dims[1:]) * span.dtype.itemsize)
            file.write(np.ascontiguousarray(values, span.dtype).data)

    def add(self, name: str, values: NDArray[Any]) -> Span:
        """A whole tensor."""
        span = self.reserve(name, values.shape, values.dtype)
        self.write(span, 0, values)
        return span


def write(path: Path, users: Table, items: Table, formula: Formula) -> tuple[Span, Span]:
    """Write `user_table` float32 [U, d] and `item_table` float32 [N, d], each from a page's start, as `formula` multiplies them.

    Zeros fill the last block of items, so that a graph may read whole blocks.
    """
    user_span = _span(contract.USER_TABLE, users, 0)
    item_span = _span(contract.ITEM_TABLE, items, -(-user_span.length // contract.PAGE) * contract.PAGE)
    with open(path, "wb") as file:
        for span, table in ((user_span, users), (item_span, items)):
            file.seek(span.offset)
            for _, block in table.blocks():
                file.write(formula.vectors(block).astype("<f4").tobytes())
        file.truncate(item_span.offset + 4 * items.width * padded(items.rows))
    return user_span, item_span


def padded(rows: int) -> int:
    """Rows up to the end of the last block."""
    return -(-rows // contract.BLOCK) * contract.BLOCK


def _span(name: str, table: Table, offset: int) -> Span:
    return Span(name, (table.rows, table.width), offset)
