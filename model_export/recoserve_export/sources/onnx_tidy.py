"""What exporters write and no score needs: operators that pass a value on, and a lookup of rows written the long way."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import helper

from recoserve_export.graph.network import Arrays

OF_ONE = {"Identity", "Max", "Min", "Sum", "Mean", "Concat"}  # with one input they give what they get


def tidied(nodes: Sequence[onnx.NodeProto], constants: Arrays, output: str) -> tuple[list[onnx.NodeProto], str]:
    """The nodes, in running order, without those that pass a value on; and the name that the output then has."""
    same: dict[str, str] = {}
    made: dict[str, onnx.NodeProto] = {}
    kept = []
    for node in nodes:
        renamed = _renamed(node, same)
        if _passes_on(renamed, made):
            same[node.output[0]] = renamed.input[0]
            continue
        plain = _plain_lookup(renamed, made, constants)
        made.update(dict.fromkeys(plain.output, plain))
        kept.append(plain)
    return kept, same.get(output, output)


def _renamed(node: onnx.NodeProto, same: Mapping[str, str]) -> onnx.NodeProto:
    if not any(name in same for name in node.input):
        return node
    found = onnx.NodeProto()
    found.CopyFrom(node)
    found.input[:] = [same.get(name, name) for name in node.input]
    return found


def _passes_on(node: onnx.NodeProto, made: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether the node's output is its first input."""
    if node.op_type in OF_ONE:
        return len(node.input) == 1
    if node.op_type == "Transpose":
        order = _attribute(node, "perm", [])
        return bool(order) and list(order) == sorted(order)
    if node.op_type == "Expand":  # to the shape that it has
        shape = made.get(node.input[1])
        whole = shape is not None and shape.op_type == "Shape" and not _attribute(shape, "start", 0) and not _has(shape, "end")
        return whole and shape is not None and shape.input[0] == node.input[0]
    return False


def _plain_lookup(node: onnx.NodeProto, made: Mapping[str, onnx.NodeProto], constants: Arrays) -> onnx.NodeProto:
    """`table[rows]` as torch writes it, a GatherND of a column of rows, as the Gather that it is."""
    index = made.get(node.input[1]) if node.op_type == "GatherND" and not _attribute(node, "batch_dims", 0) else None
    if index is None or index.op_type != "Unsqueeze" or len(index.input) != 2:
        return node
    axes = constants.get(index.input[1])
    if axes is None or axes.tolist() != [-1]:
        return node
    return helper.make_node("Gather", [node.input[0], index.input[0]], list(node.output), axis=0)


def _has(node: onnx.NodeProto, name: str) -> bool:
    return any(each.name == name for each in node.attribute)


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    found = [helper.get_attribute_value(each) for each in node.attribute if each.name == name]
    return found[0] if found else default
