"""Removes the nodes of a graph that return their input unchanged, so that lookups of table rows are recognised.

torch's exporter writes `table[rows]` as a GatherND of a column of rows, after a Transpose that changes no axis, a Max of one input
and an Expand to the shape that the rows have already. Partial evaluation and `row_counts` recognise only a lookup of a table by an
input: with these nodes in between, they wouldn't find the table's number of rows, and with it the number of users. Every rule here
gives the same numbers, bit for bit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import helper

from recoserve_export.graph import operators
from recoserve_export.graph.network import Arrays


def tidy(nodes: Sequence[onnx.NodeProto], constants: Arrays, output: str) -> tuple[list[onnx.NodeProto], str]:
    """The nodes without those that return their input, and the name that the output then has; `nodes` must be in running order."""
    aliases: dict[str, str] = {}  # output of a removed node -> the value that it was equal to
    producers: dict[str, onnx.NodeProto] = {}
    tidied = []
    for node in nodes:
        renamed = _with_inputs_renamed(node, aliases)
        if _returns_its_input(renamed, producers):
            aliases[node.output[0]] = renamed.input[0]
            continue
        simple = _as_gather(renamed, producers, constants)
        producers.update(dict.fromkeys(simple.output, simple))
        tidied.append(simple)
    return tidied, aliases.get(output, output)


def _with_inputs_renamed(node: onnx.NodeProto, aliases: Mapping[str, str]) -> onnx.NodeProto:
    if not any(name in aliases for name in node.input):
        return node
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [aliases.get(name, name) for name in node.input]
    return copy


def _returns_its_input(node: onnx.NodeProto, producers: Mapping[str, onnx.NodeProto]) -> bool:
    """True if the node's output is its first input, unchanged."""
    if operators.properties(node.op_type).identity_of_one:
        return len(node.input) == 1
    if node.op_type == "Transpose":
        order = _attribute(node, "perm", [])
        return bool(order) and list(order) == sorted(order)  # without `perm` the axes are reversed
    if node.op_type == "Expand":
        return _is_full_shape_of(producers.get(node.input[1]), node.input[0])
    return False


def _is_full_shape_of(node: onnx.NodeProto | None, value: str) -> bool:
    """True if a node is the Shape of `value`, with all axes."""
    if node is None or node.op_type != "Shape" or node.input[0] != value:
        return False
    return not _attribute(node, "start", 0) and not _has_attribute(node, "end")


def _as_gather(node: onnx.NodeProto, producers: Mapping[str, onnx.NodeProto], constants: Arrays) -> onnx.NodeProto:
    """A GatherND of a column of rows as the Gather of these rows; every other node as it is."""
    index = producers.get(node.input[1]) if node.op_type == "GatherND" and not _attribute(node, "batch_dims", 0) else None
    if index is None or index.op_type != "Unsqueeze" or len(index.input) != 2:
        return node
    axes = constants.get(index.input[1])
    if axes is None or axes.tolist() != [-1]:
        return node
    return helper.make_node("Gather", [node.input[0], index.input[0]], list(node.output), axis=0)


def _has_attribute(node: onnx.NodeProto, name: str) -> bool:
    return any(attribute.name == name for attribute in node.attribute)


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name), default)
