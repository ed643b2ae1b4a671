"""The tensors of an ONNX model as arrays: in the graph, in its Constant nodes, or mapped from a file beside it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from recoserve.bundle.graph_file import Tensor, tensor_problems
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Arrays

NUMBER_KINDS = "iufb"  # of NumPy's dtypes: integers, unsigned ones, floats, booleans


def external_tensors(graph: onnx.GraphProto, folder: Path) -> dict[str, NDArray[Any]]:
    """Every initializer whose data lies in a file in `folder`, by name, mapped; raises ExportRefused for data anywhere else."""
    return {tensor.name: _mapped(tensor, folder) for tensor in graph.initializer if _is_external(tensor)}


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _mapped(tensor: onnx.TensorProto, folder: Path) -> NDArray[Any]:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    path = _path_inside(folder, location)
    if path is None:
        raise ExportRefused(
            f"the data of tensor {tensor.name!r} is said to lie in {location!r}, which is no file in the model's own folder"
        )
    described = Tensor(tensor.name, tuple(tensor.dims), tensor.data_type, external=entries)
    for problem in tensor_problems(described, {location: path.stat().st_size}):
        raise ExportRefused(problem)
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if not described.nbytes:
        return np.zeros(described.dims, dtype)
    return np.memmap(path, dtype, mode="r", offset=described.byte_range[1], shape=described.dims)


def _path_inside(folder: Path, location: str) -> Path | None:
    """The file at a relative path in `folder`; None for a path that leaves it, by name or by a link, or that isn't there."""
    names = location.split("/")
    if not all(names) or {".", ".."} & set(names) or any(mark in location for mark in "\\:\0"):
        return None
    path_and_folders = [folder.joinpath(*names[:depth]) for depth in range(1, len(names) + 1)]
    path = path_and_folders[-1]
    return path if path.is_file() and not any(entry.is_symlink() for entry in path_and_folders) else None


def initializers(graph: onnx.GraphProto, outside: Arrays) -> dict[str, NDArray[Any]]:
    """Every initializer that `outside` doesn't have, by name; raises ExportRefused for sparse, damaged and external ones."""
    if graph.sparse_initializer:
        raise ExportRefused(f"tensor {graph.sparse_initializer[0].values.name!r} is sparse: save it as a dense one")
    return {tensor.name: _array(tensor) for tensor in graph.initializer if tensor.name not in outside}


def _array(tensor: onnx.TensorProto) -> NDArray[Any]:
    if _is_external(tensor):
        raise ExportRefused(
            f"the data of tensor {tensor.name!r} lies in a file of its own: save the model with its weights as initializers"
        )
    try:
        array: NDArray[Any] = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise ExportRefused(f"tensor {tensor.name!r} is damaged ({error}): export the model anew") from None
    return array


def constant_value(node: onnx.NodeProto) -> NDArray[Any] | None:
    """The numbers of a Constant node; None for text. Raises ExportRefused for sparse and damaged ones."""
    if len(node.attribute) != 1:
        raise ExportRefused(f"constant {node.output[0]!r} has {len(node.attribute)} values: the file is damaged")
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    match attribute.name:
        case "value":
            return _array(value)
        case "value_float" | "value_floats":
            return np.array(value, np.float32)
        case "value_int" | "value_ints":
            return np.array(value, np.int64)
        case "sparse_value":
            raise ExportRefused(f"constant {node.output[0]!r} is sparse: save it as a dense one")
    return None


def check_precision(constants: Arrays) -> None:
    """Raise ExportRefused for text, and for numbers too coarse for a parity check."""
    for name, array in constants.items():
        if array.dtype.kind not in NUMBER_KINDS or array.dtype == np.float16:
            raise ExportRefused(f"tensor {name!r} is {array.dtype}; export the model with float32 weights")
