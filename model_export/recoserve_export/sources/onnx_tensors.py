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

NUMBERS = "iufb"  # kinds of dtypes


def external_tensors(graph: onnx.GraphProto, folder: Path) -> dict[str, NDArray[Any]]:
    """Every initializer whose data lies in a file of its own in `folder`, mapped; raises ExportRefused for any other place."""
    return {each.name: _mapped(each, folder) for each in graph.initializer if each.data_location == onnx.TensorProto.EXTERNAL}


def _mapped(tensor: onnx.TensorProto, folder: Path) -> NDArray[Any]:
    written = {each.key: each.value for each in tensor.external_data}
    location = written.get("location", "")
    place = _inside(folder, location)
    if place is None:
        raise ExportRefused(
            f"the data of tensor {tensor.name!r} is said to lie in {location!r}, which is no file in the model's own folder"
        )
    described = Tensor(tensor.name, tuple(tensor.dims), tensor.data_type, external=written)
    for problem in tensor_problems(described, {location: place.stat().st_size}):
        raise ExportRefused(problem)
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if not described.nbytes:
        return np.zeros(described.dims, dtype)
    return np.memmap(place, dtype, mode="r", offset=described.byte_range[1], shape=described.dims)


def _inside(folder: Path, location: str) -> Path | None:
    """The file at a relative path in `folder`, if no step of the way there leaves it."""
    parts = location.split("/")
    if not all(parts) or {".", ".."} & set(parts) or any(mark in location for mark in "\\:\0"):
        return None
    steps = [folder.joinpath(*parts[: count + 1]) for count in range(len(parts))]
    return steps[-1] if steps[-1].is_file() and not any(step.is_symlink() for step in steps) else None


def initializers(graph: onnx.GraphProto, given: Arrays) -> dict[str, NDArray[Any]]:
    """Every initializer that isn't `given`, by name; raises ExportRefused for sparse, damaged and outlying ones."""
    if graph.sparse_initializer:
        raise ExportRefused(f"tensor {graph.sparse_initializer[0].values.name!r} is sparse: save it as a dense one")
    return {each.name: _array(each) for each in graph.initializer if each.name not in given}


def _array(tensor: onnx.TensorProto) -> NDArray[Any]:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise ExportRefused(
            f"the data of tensor {tensor.name!r} lies in a file of its own: save the model with its weights as initializers"
        )
    try:
        found: NDArray[Any] = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise ExportRefused(f"tensor {tensor.name!r} is damaged: {error}") from None
    return found


def constant(node: onnx.NodeProto) -> NDArray[Any] | None:
    """The numbers that a Constant node makes; None for text. Raises ExportRefused for sparse and damaged ones."""
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


def check(constants: Arrays) -> None:
    """Raise ExportRefused for text, and for numbers too coarse for a parity check."""
    for name, array in constants.items():
        if array.dtype.kind not in NUMBERS or array.dtype == np.float16:
            raise ExportRefused(f"tensor {name!r} is {array.dtype}; export the model with float32 weights")
