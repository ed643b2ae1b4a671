"""The program of pairs with items in columns: [width, items] in place of [items, width].

A user's vector is then a column that meets long rows, and a layer of one number is one row times a matrix: both are the shapes that
the runtime is fastest at, three times as fast as the other way round. A program that isn't made of rows of numbers alone stays
as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from recoserve_export.graph.network import Arrays
from recoserve_export.partial.values import USER, One

Constants = dict[str, NDArray[Any]]
UNARY = ["Abs", "Celu", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Mish", "Neg"]
UNARY += ["Reciprocal", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu"]
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow")


class _Kept(Exception):
    """The program has something that doesn't stand in columns."""


@dataclass
class _Reading:
    """`widths` of the values seen so far, `made` the nodes with items in columns, `turned` their constants."""

    constants: Arrays
    users: frozenset[str]
    widths: dict[str, int]
    made: list[onnx.NodeProto] = field(default_factory=list)
    turned: Constants = field(default_factory=dict)

    def width(self, name: str) -> int:
        """Of a value; only what was read in columns has one."""
        if name not in self.widths:
            raise _Kept
        return self.widths[name]

    def known(self, name: str) -> NDArray[Any]:
        """A constant."""
        if name not in self.constants:
            raise _Kept
        return self.constants[name]

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """A constant's name in this program."""
        turned = f"{name}.turned_{len(self.turned)}"
        self.turned[turned] = np.require(array, requirements="C")
        return turned

    def emit(self, node: onnx.NodeProto, inputs: Sequence[str], width: int, op: str = "", **attributes: Any) -> None:
        """The node, or operator `op` in its place, with other inputs."""
        made = onnx.NodeProto()
        made.CopyFrom(helper.make_node(op, [], list(node.output), **attributes) if op else node)
        made.input[:] = inputs
        self.made.append(made)
        self.widths[node.output[0]] = width


def in_columns(
    nodes: Sequence[onnx.NodeProto], score: str, crossing: Mapping[str, One], constants: Arrays
) -> tuple[list[onnx.NodeProto], Constants] | None:
    """The same program over values [width, items], and the constants it needs in their place; None where it can't be turned.

    A user's value is [width, 1]. The score comes as [1, items].
    """
    users = frozenset(name for name, one in crossing.items() if one.side == USER)
    reading = _Reading(constants, users, {name: prod(one.shape) for name, one in crossing.items()})
    if any(len(one.shape) > 1 for one in crossing.values()):
        return None
    try:
        for node in nodes:
            if len(node.output) != 1 or node.op_type not in RULES:
                return None
            RULES[node.op_type](reading, node)
        return (reading.made, reading.turned) if reading.width(score) == 1 else None
    except _Kept:
        return None


def _unary(reading: _Reading, node: onnx.NodeProto) -> None:
    reading.emit(node, node.input, reading.width(node.input[0]))


def _clip(reading: _Reading, node: onnx.NodeProto) -> None:
    value, *bounds = node.input
    inputs = [reading.constant(name, reading.known(name)) if name else "" for name in bounds]
    reading.emit(node, [value, *inputs], reading.width(value))


def _binary(reading: _Reading, node: onnx.NodeProto) -> None:
    inputs, widths = [], []
    for name in node.input:
        array = reading.constants.get(name)
        widths.append(reading.width(name) if array is None else array.size)
        inputs.append(name if array is None else reading.constant(name, _column(array)))
    if any(width not in (1, max(widths)) for width in widths):
        raise _Kept
    reading.emit(node, inputs, max(widths))


def _column(array: NDArray[Any]) -> NDArray[Any]:
    """A row of constants as a column."""
    if array.size != (array.shape or (1,))[-1]:
        raise _Kept
    return array.reshape(-1, 1)


def _matmul(reading: _Reading, node: onnx.NodeProto) -> None:
    value, name = node.input
    weight = reading.known(name)
    if weight.ndim != 2 or len(weight) != reading.width(value):
        raise _Kept
    reading.emit(node, [reading.constant(name, weight.T), value], weight.shape[1])


def _gemm(reading: _Reading, node: onnx.NodeProto) -> None:
    options = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    turned = options.pop("transA", 0), options.pop("transB", 0)
    if turned == (1, 1) and not options and len(node.input) == 2:
        _last_layer(reading, node)
    elif turned == (0, 1) and not options and len(node.input) == 2 and node.input[1] in reading.users:
        _dot(reading, node)
    elif not turned[0]:
        _layer(reading, node, turned[1], options)
    else:
        raise _Kept


def _layer(reading: _Reading, node: onnx.NodeProto, turned: int, options: Mapping[str, Any]) -> None:
    """A linear layer with its bias."""
    found = reading.known(node.input[1])
    weight = found if turned else found.T
    if weight.shape[1] != reading.width(node.input[0]):
        raise _Kept
    inputs = [reading.constant(node.input[1], weight), node.input[0]]
    if len(node.input) > 2:
        inputs.append(reading.constant(node.input[2], _column(reading.known(node.input[2]))))
    reading.emit(node, inputs, len(weight), "Gemm", **options)


def _last_layer(reading: _Reading, node: onnx.NodeProto) -> None:
    """A layer of one number, which has items in columns already: a weight [k, 1] and rows, both turned."""
    weight, value = reading.known(node.input[0]), node.input[1]
    if weight.shape != (reading.width(value), 1):
        raise _Kept
    reading.emit(node, [reading.constant(node.input[0], weight.T), value], 1, "MatMul")


def _dot(reading: _Reading, node: onnx.NodeProto) -> None:
    """The dot product with the user's vector."""
    value, user = node.input
    if value in reading.users or reading.width(value) != reading.width(user):
        raise _Kept
    reading.emit(node, [user, value], 1, "Gemm", transA=1)


def _concat(reading: _Reading, node: onnx.NodeProto) -> None:
    axis = helper.get_attribute_value(node.attribute[0])
    if axis not in (1, -1) or reading.users.intersection(node.input):  # a user's column is one item wide
        raise _Kept
    reading.emit(node, node.input, sum(reading.width(name) for name in node.input), "Concat", axis=0)


def _reshape(reading: _Reading, node: onnx.NodeProto) -> None:
    """A number a pair stays one."""
    value, target = node.input[0], reading.known(node.input[1]).tolist()
    if reading.width(value) != 1 or value in reading.users or target not in ([-1], [-1, 1]):
        raise _Kept
    reading.emit(node, [value], 1, "Identity")


RULES: dict[str, Callable[[_Reading, onnx.NodeProto], None]] = {
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BINARY, _binary),
    "Clip": _clip,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Concat": _concat,
    "Reshape": _reshape,
}
