"""The program of pairs with its values transposed: [width, items] in place of [items, width].

A user's vector is then a column that is added to long rows, and a layer of one number is a row times a matrix. The runtime has fast
kernels for both and for neither the other way round: an addition that broadcasts a row stops at the end of every row, and a matrix
times a column has no fast path (decision 14: a user takes half the time). A program with a value that isn't one row of numbers for
each item stays as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from recoserve_export.graph import operators
from recoserve_export.graph.network import Arrays
from recoserve_export.partial.values import USER, SideValue

Constants = dict[str, NDArray[Any]]
BROADCASTING = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow")


class _NotTransposable(Exception):
    """The program has a value or an operator that the rules below can't transpose."""


@dataclass
class _Transposition:
    """A program as far as it has been read: `nodes` and `turned_constants` are the transposed ones.

    `widths` has every value that stands transposed, a user's as [width, 1] and an item's or a pair's as [width, items].
    """

    constants: Arrays
    users: frozenset[str]
    widths: dict[str, int]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    turned_constants: Constants = field(default_factory=dict)

    def width(self, name: str) -> int:
        """Numbers of each item in a transposed value."""
        if name not in self.widths:
            raise _NotTransposable
        return self.widths[name]

    def constant_of(self, name: str) -> NDArray[Any]:
        """The constant called `name` in the program that is read."""
        if name not in self.constants:
            raise _NotTransposable
        return self.constants[name]

    def add_constant(self, name: str, array: NDArray[Any]) -> str:
        """The name of a new constant that takes the place of `name`; one for each use, for each may need another shape."""
        new_name = f"{name}.turned_{len(self.turned_constants)}"
        self.turned_constants[new_name] = np.require(array, requirements="C")
        return new_name

    def add_node(self, node: onnx.NodeProto, inputs: Sequence[str], width: int, op: str = "", **attributes: Any) -> None:
        """Add `node`, or operator `op` in its place, with other inputs; its output is `width` numbers for each item."""
        copy = onnx.NodeProto()
        copy.CopyFrom(helper.make_node(op, [], list(node.output), **attributes) if op else node)
        copy.input[:] = inputs
        self.nodes.append(copy)
        self.widths[node.output[0]] = width


def transpose(
    nodes: Sequence[onnx.NodeProto], score: str, pair_inputs: Mapping[str, SideValue], constants: Arrays
) -> tuple[list[onnx.NodeProto], Constants] | None:
    """The program over values [width, items], and the constants that it needs beside its own; None where it can't be transposed.

    `pair_inputs` are the values of either side that the program reads: a user's becomes [width, 1], an item's [width, items].
    The score becomes [1, items].
    """
    users = frozenset(name for name, side_value in pair_inputs.items() if side_value.side == USER)
    program = _Transposition(constants, users, {name: prod(side_value.row_shape) for name, side_value in pair_inputs.items()})
    if any(len(side_value.row_shape) > 1 for side_value in pair_inputs.values()):
        return None
    try:
        for node in nodes:
            if len(node.output) != 1 or node.op_type not in RULES:
                return None
            RULES[node.op_type](program, node)
        return (program.nodes, program.turned_constants) if program.width(score) == 1 else None
    except _NotTransposable:
        return None


def _unary(program: _Transposition, node: onnx.NodeProto) -> None:
    program.add_node(node, node.input, program.width(node.input[0]))


def _clip(program: _Transposition, node: onnx.NodeProto) -> None:
    value, *bounds = node.input
    inputs = [program.add_constant(name, program.constant_of(name)) if name else "" for name in bounds]
    program.add_node(node, [value, *inputs], program.width(value))


def _broadcasting(program: _Transposition, node: onnx.NodeProto) -> None:
    inputs, widths = [], []
    for name in node.input:
        array = program.constants.get(name)
        widths.append(program.width(name) if array is None else array.size)
        inputs.append(name if array is None else program.add_constant(name, _as_column(array)))
    if any(width not in (1, max(widths)) for width in widths):
        raise _NotTransposable
    program.add_node(node, inputs, max(widths))


def _as_column(array: NDArray[Any]) -> NDArray[Any]:
    """One row of numbers [..., n], or one number, as [n, 1]."""
    if array.size != (array.shape or (1,))[-1]:
        raise _NotTransposable
    return array.reshape(-1, 1)


def _matmul(program: _Transposition, node: onnx.NodeProto) -> None:
    value, name = node.input
    weight = program.constant_of(name)
    if weight.ndim != 2 or len(weight) != program.width(value):
        raise _NotTransposable
    program.add_node(node, [program.add_constant(name, weight.T), value], weight.shape[1])


def _gemm(program: _Transposition, node: onnx.NodeProto) -> None:
    options = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    transposed = options.pop("transA", 0), options.pop("transB", 0)
    if transposed == (1, 1) and not options and len(node.input) == 2:
        _last_layer(program, node)
    elif transposed == (0, 1) and not options and len(node.input) == 2 and node.input[1] in program.users:
        _dot(program, node)
    elif not transposed[0]:
        _layer(program, node, transposed[1], options)
    else:
        raise _NotTransposable


def _layer(program: _Transposition, node: onnx.NodeProto, transposed: int, options: Mapping[str, Any]) -> None:
    """A linear layer, x W + b or x Wᵀ + b, as Wᵀ xᵀ + bᵀ."""
    weight = program.constant_of(node.input[1])
    weight = weight if transposed else weight.T
    if weight.shape[1] != program.width(node.input[0]):
        raise _NotTransposable
    inputs = [program.add_constant(node.input[1], weight), node.input[0]]
    if len(node.input) > 2:
        inputs.append(program.add_constant(node.input[2], _as_column(program.constant_of(node.input[2]))))
    program.add_node(node, inputs, len(weight), "Gemm", **options)


def _last_layer(program: _Transposition, node: onnx.NodeProto) -> None:
    """A layer of one number, written as wᵀ xᵀ: its score is [1, items] already, and x stands transposed here anyway."""
    weight, value = program.constant_of(node.input[0]), node.input[1]
    if weight.shape != (program.width(value), 1):
        raise _NotTransposable
    program.add_node(node, [program.add_constant(node.input[0], weight.T), value], 1, "MatMul")


def _dot(program: _Transposition, node: onnx.NodeProto) -> None:
    """The dot product of each item's row with the user's vector."""
    value, user = node.input
    if value in program.users or program.width(value) != program.width(user):
        raise _NotTransposable
    program.add_node(node, [user, value], 1, "Gemm", transA=1)


def _concat(program: _Transposition, node: onnx.NodeProto) -> None:
    axis = helper.get_attribute_value(node.attribute[0])
    # A user's value is one column wide: Concat repeats nothing, so it can't stand above an item's [width, items].
    if axis not in (1, -1) or program.users.intersection(node.input):
        raise _NotTransposable
    program.add_node(node, node.input, sum(program.width(name) for name in node.input), "Concat", axis=0)


def _reshape(program: _Transposition, node: onnx.NodeProto) -> None:
    """A Reshape of one number for each pair to [-1] or [-1, 1], which changes nothing here; no other is transposed."""
    value, target = node.input[0], program.constant_of(node.input[1]).tolist()
    if program.width(value) != 1 or value in program.users or target not in ([-1], [-1, 1]):
        raise _NotTransposable
    program.add_node(node, [value], 1, "Identity")


RULES: dict[str, Callable[[_Transposition, onnx.NodeProto], None]] = {
    **dict.fromkeys(operators.UNARY, _unary),
    **dict.fromkeys(BROADCASTING, _broadcasting),
    "Clip": _clip,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Concat": _concat,
    "Reshape": _reshape,
}
