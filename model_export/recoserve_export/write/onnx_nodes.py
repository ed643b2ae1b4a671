"""Helpers for all graphs of a bundle: saving, inputs and outputs, constants, the check of row numbers, a score's tail."""

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
    """Write a graph as a model file, and check the file."""
    versions = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=IR_VERSION, producer_name="recoserve")
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(str(path))


def value(name: str, dtype: int, shape: list[int | str]) -> onnx.ValueInfoProto:
    """An input or output of a graph."""
    return helper.make_tensor_value_info(name, dtype, shape)


def integers(name: str, numbers: int | list[int] | list[list[int]]) -> TensorProto:
    """An int64 constant in the graph itself."""
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


def external(tensor: ExternalTensor, file: str = contract.TENSORS) -> TensorProto:
    """A constant in a file beside the graph."""
    dtype = helper.np_dtype_to_tensor_dtype(tensor.dtype)
    proto = TensorProto(name=tensor.name, data_type=dtype, dims=tensor.dims, data_location=TensorProto.EXTERNAL)
    for key, entry in (("location", file), ("offset", tensor.offset), ("length", tensor.nbytes)):
        proto.external_data.add(key=key, value=str(entry))
    return proto


def guard(rows: str) -> list[onnx.NodeProto]:
    """Nodes that compute `{rows}_checked`, equal to the value called `rows`; a row outside the table makes the run fail.

    The run fails in a Reshape, whose target shape has one element more for each such row. Gather itself takes -1 as the last row on
    the CPU, and returns zeros on CUDA. Every execution provider reads shapes on the host, so the Reshape fails on all of them
    (decision 2).
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
    """Nodes that compute `score` from the value called `product`; none if there is no tail, since the product is the score then."""
    if not tail:
        return []
    # In float64: the runtime's float32 sigmoid returns less for some slightly larger inputs, and a tail must not change the order.
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
    """The outputs of a graph that scores: the score and, if there is a tail, the product before it.

    Items are ranked by the product: the scores of different products may be rounded to the same number.
    """
    names = [contract.SCORE_OUT, *([contract.PRODUCT] if tail else [])]
    return [value(name, FLOAT, ["batch", "candidates"]) for name in names]
