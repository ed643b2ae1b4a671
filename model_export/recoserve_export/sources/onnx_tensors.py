"""Reads the tensors of an ONNX model as arrays, from the graph, its Constant nodes and files beside it, and checks their dtypes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from recoserve.bundle.graph_file import ITEM_SIZES, Tensor, tensor_problems
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Arrays

ACCEPTED_KINDS = "iufb"  # of NumPy's dtypes: signed and unsigned integers, floats, booleans
TEXT_KINDS = "OSU"


def external_tensors(graph: onnx.GraphProto, folder: Path) -> dict[str, NDArray[Any]]:
    """Every initializer whose data lies in another file in `folder`, by name, as a read-only memory map (an array if it is empty).

    Raises ExportRefused for data outside of the folder, for a file that is missing or a link, for a negative dimension, for a data
    type of unknown size, and for an offset, a length and a shape that don't fit the file.
    """
    return {tensor.name: _memory_mapped(tensor, folder) for tensor in graph.initializer if _is_external(tensor)}


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _memory_mapped(tensor: onnx.TensorProto, folder: Path) -> NDArray[Any]:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    path = _file_in_folder(folder, location)
    if path is None:
        raise ExportRefused(
            f"the data of tensor {tensor.name!r} can't be read from {location!r}: it must be a file, and no link, in the model's "
            "folder, named by a relative path that has no part '.' or '..' and no ':' or '\\'"
        )
    if tensor.data_type not in ITEM_SIZES:
        raise ExportRefused(
            f"tensor {tensor.name!r} has a data type that can't be read from a file beside the model: "
            "export the model with float32 weights and int64 ids"
        )
    description = Tensor(tensor.name, tuple(tensor.dims), tensor.data_type, external=entries)
    problem = next(iter(tensor_problems(description, {location: path.stat().st_size})), None)
    if problem is not None:
        raise ExportRefused(problem)
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if not description.nbytes:
        return np.zeros(description.dims, dtype)  # an empty range can't be memory-mapped
    _, offset, _ = description.byte_range
    return np.memmap(path, dtype, mode="r", offset=offset, shape=description.dims)


def _file_in_folder(folder: Path, location: str) -> Path | None:
    """The file at a path relative to `folder`, whose parts are separated by `/`.

    None for an absolute path, for an empty part, `.` or `..`, for a backslash, a colon or a NUL anywhere, if a part below `folder`
    is a link, and if there is no file.
    """
    names = location.split("/")
    if not all(names) or {".", ".."} & set(names) or any(mark in location for mark in "\\:\0"):
        return None
    folders_and_path = [folder.joinpath(*names[:depth]) for depth in range(1, len(names) + 1)]
    path = folders_and_path[-1]
    return path if path.is_file() and not any(entry.is_symlink() for entry in folders_and_path) else None


def initializers(graph: onnx.GraphProto, external: Arrays) -> dict[str, NDArray[Any]]:
    """Every initializer, by name, except those in `external`, the result of `external_tensors`.

    Raises ExportRefused for one that is sparse or damaged, or whose data lies in another file.
    """
    if graph.sparse_initializer:
        raise ExportRefused(f"tensor {graph.sparse_initializer[0].values.name!r} is sparse: save it as a dense one")
    return {tensor.name: _decoded(tensor) for tensor in graph.initializer if tensor.name not in external}


def _decoded(tensor: onnx.TensorProto) -> NDArray[Any]:
    if _is_external(tensor):
        raise ExportRefused(
            f"the data of tensor {tensor.name!r} lies in another file. Such a file is read only for initializers of the main "
            "graph, and only if the model is read from a file: export the model with this tensor inside the .onnx file"
        )
    try:
        array: NDArray[Any] = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise ExportRefused(f"tensor {tensor.name!r} is damaged ({error}): export the model anew") from None
    return array


def constant_value(node: onnx.NodeProto) -> NDArray[Any] | None:
    """The value of a Constant node; None for any other attribute, such as text (`value_string`).

    A tensor of strings comes as an array of objects, which `check_dtypes` refuses if the score needs it. Raises ExportRefused for a
    node without exactly one attribute, and for a sparse, a damaged or an external tensor.
    """
    if len(node.attribute) != 1:
        raise ExportRefused(
            f"constant {node.output[0]!r} has {len(node.attribute)} value attributes instead of one: the file is damaged"
        )
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    match attribute.name:
        case "value":
            return _decoded(value)
        case "value_float" | "value_floats":
            return np.array(value, np.float32)
        case "value_int" | "value_ints":
            return np.array(value, np.int64)
        case "sparse_value":
            raise ExportRefused(f"constant {node.output[0]!r} is sparse: save it as a dense one")
    return None


def check_dtypes(constants: Arrays) -> None:
    """Raise ExportRefused for text, for floats below 32 bits, which are too coarse for a parity check, and for other dtypes.

    Accepted are NumPy's own integers, floats and booleans; complex numbers and int4 are not.
    """
    for name, array in constants.items():
        if array.dtype.kind in TEXT_KINDS:
            raise ExportRefused(f"tensor {name!r} holds text: export the part of the model after its text lookup")
        if array.dtype.kind not in ACCEPTED_KINDS or array.dtype == np.float16:
            raise ExportRefused(f"tensor {name!r} is {array.dtype}: export the model with float32 weights")
