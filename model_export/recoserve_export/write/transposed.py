"""Transposes the values of the pair program: [width, items] instead of [items, width], which takes half the time for each user.

A user's vector is then a column that is added to long rows, and a layer of one number is a row times a matrix. The runtime has fast
kernels for both, but not for the untransposed operations: an addition that broadcasts a row stops at the end of every row, and a
matrix times a column has no fast path (decision 14). A program with a value that isn't one row of numbers for each item stays as it
is.
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
    """A transposed program in the making: its `nodes`, and the `new_constants` that these read.

    `constants` are those of the original program. `widths` has the width of every transposed value by name: a user's, one of
    `user_values`, is [width, 1], an item's or a pair's is [width, items].
    """

    constants: Arrays
    user_values: frozenset[str]
    widths: dict[str, int]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    new_constants: Constants = field(default_factory=dict)

    def width(self, name: str) -> int:
        """How many numbers a transposed value has for each item."""
        if name not in self.widths:
            raise _NotTransposable
        return self.widths[name]

    def constant_of(self, name: str) -> NDArray[Any]:
        """The original program's constant called `name`."""
        if name not in self.constants:
            raise _NotTransposable
        return self.constants[name]

    def add_constant(self, name: str, array: NDArray[Any]) -> str:
        """Add a constant in place of the one called `name`; returns its name. Each use adds one, for it may need another shape."""
        new_name = f"{name}.turned_{len(self.new_constants)}"
        self.new_constants[new_name] = np.require(array, requirements="C")
        return new_name

    def add_node(self, node: onnx.NodeProto, inputs: Sequence[str], width: int, op: str = "", **attributes: Any) -> None:
        """Add a copy of `node`, or operator `op` in its place, with other inputs; its output has `width` numbers for each item."""
        copy = onnx.NodeProto()
        copy.CopyFrom(helper.make_node(op, [], list(node.output), **attributes) if op else node)
        copy.input[:] = inputs
        self.nodes.append(copy)
        self.widths[node.output[0]] = width


def transpose(
    nodes: Sequence[onnx.NodeProto], score: str, pair_inputs: Mapping[str, SideValue], constants: Arrays
) -> tuple[list[onnx.NodeProto], Constants] | None:
    """The transposed nodes and the new constants that they read; None if the program can't be transposed.

    `pair_inputs` are the values of both sides that the program reads: a user's becomes [width, 1], an item's [width, items]. The
    score becomes [1, items].
    """
    user_values = frozenset(name for name, side_value in pair_inputs.items() if side_value.side == USER)
    widths = {name: prod(side_value.row_shape) for name, side_value in pair_inputs.items()}
    program = _Transposition(constants, user_values, widths)
    if any(len(side_value.row_shape) > 1 for side_value in pair_inputs.values()):
        return None
    try:
        for node in nodes:
            if len(node.output) != 1 or node.op_type not in RULES:
                return None
            RULES[node.op_type](program, node)
        return (program.nodes, program.new_constants) if program.width(score) == 1 else None
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
    """A single row of numbers [..., n], or one number, as a column [n, 1]."""
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
    first_transposed, second_transposed = options.pop("transA", 0), options.pop("transB", 0)
    is_product_only = not options and len(node.input) == 2
    if first_transposed and second_transposed and is_product_only:
        _last_layer(program, node)
    elif not first_transposed and second_transposed and is_product_only and node.input[1] in program.user_values:
        _dot(program, node)
    elif not first_transposed:
        _layer(program, node, second_transposed, options)
    else:
        raise _NotTransposable


def _layer(program: _Transposition, node: onnx.NodeProto, weight_transposed: int, options: Mapping[str, Any]) -> None:
    """Add a linear layer: x W + b as Wᵀ xᵀ + bᵀ, and x Wᵀ + b as W xᵀ + bᵀ."""
    weight = program.constant_of(node.input[1])
    weight = weight if weight_transposed else weight.T
    if weight.shape[1] != program.width(node.input[0]):
        raise _NotTransposable
    inputs = [program.add_constant(node.input[1], weight), node.input[0]]
    if len(node.input) > 2:
        inputs.append(program.add_constant(node.input[2], _as_column(program.constant_of(node.input[2]))))
    program.add_node(node, inputs, len(weight), "Gemm", **options)


def _last_layer(program: _Transposition, node: onnx.NodeProto) -> None:
    """Add a layer of one number, which the pair program has as wᵀ xᵀ: the score is [1, items] already, and x is transposed here."""
    weight, value = program.constant_of(node.input[0]), node.input[1]
    if weight.shape != (program.width(value), 1):
        raise _NotTransposable
    program.add_node(node, [program.add_constant(node.input[0], weight.T), value], 1, "MatMul")


def _dot(program: _Transposition, node: onnx.NodeProto) -> None:
    """Add the dot product of each item's row with the user's vector."""
    value, user = node.input
    if value in program.user_values or program.width(value) != program.width(user):
        raise _NotTransposable
    program.add_node(node, [user, value], 1, "Gemm", transA=1)


def _concat(program: _Transposition, node: onnx.NodeProto) -> None:
    axis = helper.get_attribute_value(node.attribute[0])
    # A user's value has one column, which Concat doesn't repeat, so it can't be put above an item's [width, items].
    if axis not in (1, -1) or program.user_values.intersection(node.input):
        raise _NotTransposable
    program.add_node(node, node.input, sum(program.width(name) for name in node.input), "Concat", axis=0)


def _reshape(program: _Transposition, node: onnx.NodeProto) -> None:
    """Add an Identity for a Reshape of one number for each pair to [-1] or [-1, 1]; other reshapes can't be transposed."""
    value, target = node.input[0], program.constant_of(node.input[1]).tolist()
    if program.width(value) != 1 or value in program.user_values or target not in ([-1], [-1, 1]):
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
