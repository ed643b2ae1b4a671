"""Reads the arrays that a bundle's graphs keep in files of their own: both embedding tables, and the int8 index."""

from pathlib import Path

import numpy as np

from recoserve.bundle import contract, files, graph_file
from recoserve.bundle.archive import Bundle
from recoserve.bundle.arrays import Float32Array
from recoserve.bundle.graph_file import Tensor
from recoserve.bundle.int8_index import Int8Index
from recoserve.bundle.integrity import MAX_GRAPH_BYTES


def embedding_tables(bundle: Bundle) -> tuple[Float32Array, Float32Array] | None:
    """The user and the item vectors, float32 [U, d] and [N, d], as memory maps; None where the score is no dot product."""
    if bundle.manifest.dim is None:
        return None
    names = (contract.USER_TABLE, contract.ITEM_TABLE)
    tensors = {tensor.name: tensor for tensor in _external_tensors(_read_tensors(bundle.graph(contract.SCORE)), graph_file.FLOAT)}
    if not set(names) <= tensors.keys():
        return None
    users, items = (files.map_tensor(bundle.folder, tensors[name], np.float32) for name in names)
    return users, items


def read_int8_index(screen: Path, item_count: int, dim: int) -> Int8Index | None:
    """The int8 index that the graph in `screen` (a bundle's `screen.onnx`) refers to, as memory maps.

    None where the graph isn't laid out as today's exporter does it: an older bundle may have such a graph, and ONNX Runtime can
    still run it. The kernel reads memory by address, so every shape is checked here.
    """
    tensors, blocks = _read_tensors(screen), -(-item_count // contract.BLOCK)
    pieces = _external_tensors(tensors, graph_file.INT8)
    if any(len(piece.dims) != 2 or piece.dims[0] != dim or piece.dims[1] % contract.BLOCK for piece in pieces):
        return None
    if sum(piece.dims[1] for piece in pieces) != blocks * contract.BLOCK:
        return None
    shapes = {contract.ROTATION: (dim, dim), contract.BLOCK_STEP: (1, blocks), contract.BLOCK_LENGTHS: (2, blocks)}
    inline = {tensor.name: tensor for tensor in tensors if tensor.name in shapes and tensor.data_type == graph_file.FLOAT}
    if {name: tensor.dims for name, tensor in inline.items() if len(tensor.raw) == tensor.nbytes} != shapes:
        return None
    rotation, step, lengths = (np.frombuffer(inline[name].raw, np.float32).reshape(shape) for name, shape in shapes.items())
    error, norm = lengths
    return Int8Index(tuple(files.map_tensor(screen.parent, piece, np.int8) for piece in pieces), rotation, step[0], error, norm)


def _read_tensors(graph: Path) -> list[Tensor]:
    return graph_file.parse(files.read_bytes(graph, MAX_GRAPH_BYTES)).tensors


def _external_tensors(tensors: list[Tensor], data_type: int) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor.external and tensor.data_type == data_type]
