"""Writes tensors into files beside the graphs, some rows at a time, so that no table is in memory twice."""

import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle import contract
from recoserve_export.graph.dot_score import EmbeddingTable, Formula

FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True)
class ExternalTensor:
    """A tensor of shape `dims` in a file beside the graphs (ONNX's "external data"), from byte `offset` on."""

    name: str
    dims: tuple[int, ...]
    offset: int
    dtype: np.dtype[Any] = FLOAT32

    @property
    def nbytes(self) -> int:
        """Bytes that the tensor takes in the file."""
        return prod(self.dims) * self.dtype.itemsize


class TensorFile:
    """A growing file of tensors: each starts at a page boundary, and bytes that aren't written are zero."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = 0
        path.touch()

    def reserve(self, name: str, dims: tuple[int, ...], dtype: np.dtype[Any]) -> ExternalTensor:
        """Append a tensor of zeros, to be filled by `write_rows`."""
        tensor = ExternalTensor(name, dims, page_after(self._end), dtype)
        self._end = tensor.offset + tensor.nbytes
        os.truncate(self._path, self._end)
        return tensor

    def write_rows(self, tensor: ExternalTensor, start: int, rows: NDArray[Any]) -> None:
        """Write `rows` into a reserved tensor, from its row `start` on."""
        with open(self._path, "r+b") as file:
            file.seek(tensor.offset + start * prod(tensor.dims[1:]) * tensor.dtype.itemsize)
            file.write(np.ascontiguousarray(rows, tensor.dtype).data)

    def add(self, name: str, array: NDArray[Any]) -> ExternalTensor:
        """Append a tensor that holds `array`."""
        tensor = self.reserve(name, array.shape, array.dtype)
        self.write_rows(tensor, 0, array)
        return tensor


def write(path: Path, users: EmbeddingTable, items: EmbeddingTable, formula: Formula) -> tuple[ExternalTensor, ExternalTensor]:
    """Write the vectors that `formula` multiplies, `user_table` float32 [U, d] and `item_table` float32 [N, d]; returns both.

    Zeros fill the last block of items, so that graphs can read complete blocks.
    """
    user_table = ExternalTensor(contract.USER_TABLE, (users.row_count, users.width), 0)
    item_table = ExternalTensor(contract.ITEM_TABLE, (items.row_count, items.width), page_after(user_table.nbytes))
    with open(path, "wb") as file:
        for tensor, table in ((user_table, users), (item_table, items)):
            file.seek(tensor.offset)
            for _, rows in table.blocks():
                file.write(formula.vectors(rows).astype("<f4").tobytes())
        file.truncate(item_table.offset + FLOAT32.itemsize * items.width * padded_row_count(items.row_count))
    return user_table, item_table


def padded_row_count(row_count: int) -> int:
    """The number of rows with those that fill the last block."""
    return -(-row_count // contract.BLOCK) * contract.BLOCK


def page_after(offset: int) -> int:
    """The first page boundary at or after `offset`: the runtime memory-maps only tensors that start at one."""
    return -(-offset // contract.PAGE) * contract.PAGE
