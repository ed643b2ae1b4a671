"""Raw numbers in files beside the graphs, written some rows at a time, so that no table stands in memory twice."""

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
    """Where a file beside the graphs (ONNX's "external data") holds a tensor of shape `dims`; `offset` in bytes."""

    name: str
    dims: tuple[int, ...]
    offset: int
    dtype: np.dtype[Any] = FLOAT32

    @property
    def nbytes(self) -> int:
        """Bytes that the tensor takes in the file."""
        return prod(self.dims) * self.dtype.itemsize


class TensorFile:
    """A file of tensors that grows; each starts at a page, and bytes that nobody wrote are zero."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = 0
        path.touch()

    def reserve(self, name: str, dims: tuple[int, ...], dtype: np.dtype[Any]) -> ExternalTensor:
        """A tensor of zeros at the end of the file, to be filled by `write_rows`."""
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
        """A tensor at the end of the file that holds `array`."""
        tensor = self.reserve(name, array.shape, array.dtype)
        self.write_rows(tensor, 0, array)
        return tensor


def write(path: Path, users: EmbeddingTable, items: EmbeddingTable, formula: Formula) -> tuple[ExternalTensor, ExternalTensor]:
    """Write `user_table` float32 [U, d] and `item_table` float32 [N, d] as `formula` multiplies them; returns both.

    Zeros fill the last block of items, so that a graph may read whole blocks.
    """
    user_table = ExternalTensor(contract.USER_TABLE, (users.row_count, users.width), 0)
    item_table = ExternalTensor(contract.ITEM_TABLE, (items.row_count, items.width), page_after(user_table.nbytes))
    with open(path, "wb") as file:
        for tensor, table in ((user_table, users), (item_table, items)):
            file.seek(tensor.offset)
            for _, rows in table.blocks():
                file.write(formula.vectors(rows).astype("<f4").tobytes())
        file.truncate(item_table.offset + FLOAT32.itemsize * items.width * padded(items.row_count))
    return user_table, item_table


def padded(rows: int) -> int:
    """Rows up to the end of the last block."""
    return -(-rows // contract.BLOCK) * contract.BLOCK


def page_after(offset: int) -> int:
    """The first page boundary at or after `offset`: the runtime maps a tensor only where it starts at one."""
    return -(-offset // contract.PAGE) * contract.PAGE
