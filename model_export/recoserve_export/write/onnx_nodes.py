"""What the graphs of a bundle share: files, inputs and outputs, tensors beside them, the guard of row numbers, a score's tail."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from recoserve.bundle import contract
from recoserve_export.graph.monotone_tail import Tail
from recoserve_export.write.tensors import ExternalTensor

OPSET, IR_VERSION = 21, 10
INT64, FLOAT = TensorProto.INT64, TensorProto.FLOAT


def save(path: Path, graph: onnx.GraphProto, opset: int = OPSET) -> None:
    """Write one graph as a model file, and check it."""
    versions = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=IR_VERSION, producer_name="recoserve")
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(str(path))


def value(name: str, dtype: int, shape: list[int | str]) -> onnx.ValueInfoProto:
    """An input or output of a graph."""
    return helper.make_tensor_value_info(name, dtype, shape)


def integers(name: str, numbers: int | list[int] | list[list[int]]) -> TensorProto:
    """An int64 constant that stands in the graph itself."""
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


def external(tensor: ExternalTensor, file: str = contract.TENSORS) -> TensorProto:
    """A constant that stands in a file beside the graph."""
    dtype = helper.np_dtype_to_tensor_dtype(tensor.dtype)
    proto = TensorProto(name=tensor.name, data_type=dtype, dims=tensor.dims, data_location=TensorProto.EXTERNAL)
    for key, entry in (("location", file), ("offset", tensor.offset), ("length", tensor.nbytes)):
        proto.external_data.add(key=key, value=str(entry))
    return proto


def guard(rows: str) -> list[onnx.NodeProto]:
    """`{rows}_checked`, equal to `rows`; a row outside the table is an error, by a Reshape to one element too many for each.

    Gather itself takes -1 for the last row on CPU, and returns zeros on CUDA. A shape is read on the host by every
    execution provider, so the Reshape fails on all of them (decision 2).
    """
    return [
        helper.make_node("Less", [rows, "zero"], [f"{rows}_below"]),
        helper.make_node("GreaterOrEqual", [rows, f"{rows}_rows"], [f"{rows}_beyond"]),
        helper.make_node("Or", [f"{rows}_below", f"{rows}_beyond"], [f"{rows}_outside"]),
        helper.make_node("Cast", [f"{rows}_outside"], [f"{rows}_ones"], to=INT64),
        helper.make_node("ReduceSum", [f"{rows}_ones"], [f"{rows}_excess"], keepdims=1),
        helper.make_node("Shape", [rows], [f"{rows}_shape"]),
        helper.make_node("Add", [f"{rows}_shape", f"{rows}_excess"], [f"{rows}_target"]),
        helper.make_node("Reshape", [rows, f"{rows}_target"], [f"{rows}_checked"]),
    ]


def tail_nodes(product: str, tail: Tail) -> list[onnx.NodeProto]:
    """The nodes that make `score` out of `product`; none where there is no tail, for then the product is the score."""
    if not tail:
        return []
    # By way of float64: the runtime's float32 sigmoid falls, here and there, where its input rises, and no order may change.
    nodes, name = [helper.make_node("Cast", [product], [f"{product}_64"], to=TensorProto.DOUBLE)], f"{product}_64"
    for position, step in enumerate(tail):
        inputs = [name]
        if step.operator in ("Add", "Mul"):
            inputs.append(f"tail_constant_{position}")
            nodes.append(helper.make_node("Constant", [], inputs[1:], value=numpy_helper.from_array(np.array(step.constant))))
        name = f"tail_{position}"
        nodes.append(helper.make_node(step.operator, inputs, [name]))
    return [*nodes, helper.make_node("Cast", [name], [contract.SCORE_OUT], to=FLOAT)]


def score_outputs(tail: Tail) -> list[onnx.ValueInfoProto]:
    """The outputs of a graph that scores: the score and, where there is a tail, the product in front of it.

    Ranks are those of the product: two scores may be rounded to one number where their products differ.
    """
    names = [contract.SCORE_OUT, *([contract.PRODUCT] if tail else [])]
    return [value(name, FLOAT, ["batch", "candidates"]) for name in names]
