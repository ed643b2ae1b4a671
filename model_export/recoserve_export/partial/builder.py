"""The three programs that partial evaluation writes while it reads a graph: one for users, one for items, one for pairs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from recoserve_export.partial.values import (
    ITEM,
    PAIR,
    PAIR_COUNT,
    USER,
    Concatenation,
    Constant,
    DotProduct,
    ElementwiseProduct,
    LinearCombination,
    PairValue,
    RowShape,
    SideValue,
    Value,
)


def live_nodes(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that `outputs` depend on, in their order; the others are dead code."""
    live_names, live = set(outputs), list[onnx.NodeProto]()
    for node in reversed(nodes):
        if live_names.intersection(node.output):
            live_names.update(node.input)
            live.append(node)
    return live[::-1]


class ProgramBuilder:
    """Three programs in the making: the `nodes` of each, by USER, ITEM and PAIR, and the `constants` of all three by name.

    `pair_inputs` are the values of the two sides that the pair program reads, by name. `widest_row` is the largest size of a row
    among the values of the pair program; it bounds the memory of a run.
    """

    def __init__(self, opset: int, constants: Mapping[str, NDArray[Any]]) -> None:
        self.opset = opset
        self.constants = dict(constants)
        self.nodes: dict[str, list[onnx.NodeProto]] = {USER: [], ITEM: [], PAIR: []}
        self.pair_inputs: dict[str, SideValue] = {}
        self.widest_row = 1
        # What `multiply` and `matmul` made a pair value of, by the pair value's name: constant factors before and after a matrix
        # product are multiplied into the matrix.
        self._scaled_from: dict[str, tuple[PairValue, NDArray[Any]]] = {}
        self._matmul_from: dict[str, tuple[str, NDArray[Any]]] = {}
        # By id, because arrays can't be hashed; the value is stored too, so that Python doesn't reuse its id for another one.
        self._materialised: dict[int, tuple[Value, str]] = {}
        self._unused_names: Iterator[str] = (f"recoserve.{number}" for number in range(1 << 30))

    def constant(self, array: NDArray[Any]) -> str:
        """Add a constant; returns its name."""
        name = next(self._unused_names)
        self.constants[name] = np.asarray(array)
        return name

    def emit(self, program: str, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a new node to a program (USER, ITEM or PAIR); returns the name of its output."""
        name = next(self._unused_names)
        self.nodes[program].append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def copy(self, program: str, node: onnx.NodeProto, inputs: Sequence[str]) -> onnx.NodeProto:
        """Append a copy of the model's own node, with the same outputs and other inputs, to a program; returns the copy."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.input.extend(inputs)
        self.nodes[program].append(copy)
        return self.nodes[program][-1]

    def copy_with_new_output(self, program: str, node: onnx.NodeProto, inputs: Sequence[str]) -> str:
        """Append a copy of the model's own node, with another output and other inputs, to a program; returns the output's name."""
        copy, name = self.copy(program, node, inputs), next(self._unused_names)
        copy.output[0], copy.name = name, ""  # the node may be copied several times, and two nodes may not share a name
        return name

    def apply(self, value: SideValue, operator: str, *further_inputs: str, row_shape: RowShape, **attributes: Any) -> SideValue:
        """Append an operator with `value` as its first input to the program of the value's side; returns its result."""
        return SideValue(value.side, self.emit(value.side, operator, (value.name, *further_inputs), **attributes), row_shape)

    def pair_value(self, name: str, row_shape: RowShape) -> PairValue:
        """The value called `name` in the pair program; counts towards `widest_row`."""
        self.widest_row = max(self.widest_row, prod(row_shape))
        return PairValue(name, row_shape)

    def multiply(self, value: PairValue, factor: NDArray[Any]) -> PairValue:
        """A pair value times a constant; if the value is a matrix product, in one operator: `(x @ W) * c = x @ (W * c)`."""
        row_shape = np.broadcast_shapes(value.row_shape, factor.shape)
        # A factor scales the columns of the matrix only if it is one number or one row of them, and doesn't make the rows wider.
        if value.name in self._matmul_from and factor.ndim <= 1 and row_shape == value.row_shape:
            source, weight = self._matmul_from[value.name]
            return self.matmul(source, weight * factor, row_shape)
        scaled = self.pair_value(self.emit(PAIR, "Mul", [value.name, self.constant(factor)]), row_shape)
        if factor.ndim <= 1 and row_shape == value.row_shape:
            self._scaled_from[scaled.name] = value, factor
        return scaled

    def matmul(self, name: str, weight: NDArray[Any], row_shape: RowShape) -> PairValue:
        """A pair value times a matrix [k, n]; if the value is scaled, in one operator: `(x * c) @ W = x @ (c[:, None] * W)`."""
        if name in self._scaled_from:
            value, factor = self._scaled_from[name]
            return self.matmul(value.name, weight * factor.reshape(-1, 1), row_shape)
        product = self.pair_value(self.emit(PAIR, "MatMul", [name, self.constant(weight)]), row_shape)
        self._matmul_from[product.name] = name, weight
        return product

    def materialise(self, value: Value) -> str:
        """The name of a value in the pair program; the first call appends the nodes that compute it.

        A constant and a per-user value have a single row there, which broadcasts over the pairs.
        """
        if id(value) not in self._materialised:
            self._materialised[id(value)] = value, self._materialise(value)
        return self._materialised[id(value)][1]

    def materialise_rows(self, value: Value) -> str:
        """The name of a value in the pair program with a row for every pair, for operators that don't broadcast."""
        name = self.materialise(value)
        if isinstance(value, Constant) and value.repeated:
            return self._expand(name, value.array.ndim - 1)
        return self._expand(name, len(value.row_shape)) if isinstance(value, SideValue) and value.side == USER else name

    def materialise_score(self, value: Value) -> str:
        """The name of a score in the pair program: one number for each pair, in an array of any shape."""
        # A last layer of one number is faster as a row times a matrix, [1, k] by [k, pairs], than as a matrix times a column.
        if isinstance(value, PairValue) and value.row_shape == (1,) and value.name in self._matmul_from:
            source, weight = self._matmul_from[value.name]
            return self.emit(PAIR, "Gemm", [self.constant(weight), source], transA=1, transB=1)
        return self.materialise(value)

    def sides_of(self, name: str) -> set[str]:
        """The sides that a value of the pair program depends on."""
        dependencies = {name, *(source for node in live_nodes(self.nodes[PAIR], [name]) for source in node.input)}
        return {value.side for value in self.pair_inputs.values() if value.name in dependencies}

    def as_float32(self, name: str, dtype: np.dtype[Any]) -> str:
        """The name of a value of the pair program, which has this `dtype`, as float32."""
        return name if dtype == np.float32 else self.emit(PAIR, "Cast", [name], to=onnx.TensorProto.FLOAT)

    def _expand(self, name: str, row_rank: int) -> str:
        """The name of a value whose single row is repeated for every pair."""
        ones = self.constant(np.ones(row_rank, np.int64))
        shape = self.emit(PAIR, "Concat", [PAIR_COUNT, ones], axis=0) if row_rank else PAIR_COUNT
        return self.emit(PAIR, "Expand", [name, shape])

    def _materialise(self, value: Value) -> str:
        match value:
            case Constant(array):
                return self.constant(array)
            case PairValue(name):
                return name
            case SideValue(_, name):
                self.pair_inputs[name] = value
                return name
            case Concatenation(operands, row_shape, axis):
                return self._emit_pair("Concat", [self.materialise_rows(operand) for operand in operands], row_shape, axis=axis)
            case LinearCombination(terms):
                return self._materialise_sum(value, terms)
            case ElementwiseProduct(user, item, row_shape):
                return self._emit_pair("Mul", [self.materialise(user), self.materialise(item)], row_shape)
            case DotProduct(user, item, row_shape):
                # [pairs, d] times the transpose of [1, d], since the user has a single row: one number for each pair.
                product = self._emit_pair("Gemm", [self.materialise(item), self.materialise(user)], (1,), transB=1)
                return product if row_shape == (1,) else self._reshape(product, row_shape)

    def _reshape(self, name: str, row_shape: RowShape) -> str:
        return self.emit(PAIR, "Reshape", [name, self.constant(np.array([-1, *row_shape]))])

    def _materialise_sum(self, value: LinearCombination, terms: tuple[Value, ...]) -> str:
        match terms:
            # `x @ W + b` is one Gemm if x is a matrix and b a bias that broadcasts to its rows: Gemm takes nothing else.
            case (PairValue(name, row_shape), Constant(bias)) if (
                name in self._matmul_from and bias.ndim <= 1 and len(row_shape) == 1 and row_shape == value.row_shape
            ):
                source, weight = self._matmul_from[name]
                return self._emit_pair("Gemm", [source, self.constant(weight), self.constant(bias)], value.row_shape)
        sum_name, *names = [self.materialise(term) for term in terms]
        for name in names:
            sum_name = self._emit_pair("Add", [sum_name, name], value.row_shape)
        return sum_name

    def _emit_pair(self, operator: str, inputs: Sequence[str], row_shape: RowShape, **attributes: Any) -> str:
        return self.pair_value(self.emit(PAIR, operator, inputs, **attributes), row_shape).name
