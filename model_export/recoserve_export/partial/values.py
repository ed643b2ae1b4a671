"""What a value of the model's graph is, seen from a pair of a user and an item; the programs that its pieces are made by.

A value has one row for each pair. Much of it needs only one side, and is worth computing once a user or once an item:

    Known     the same for every pair
    Sizes     integers that tell the number of pairs, as shapes do
    One       one side's rows
    Rows      nothing better is known: a row for each pair

and the forms in which two sides meet, kept apart for as long as the operators behind them allow:

    Parts     side by side along one axis
    Sum       added up
    Product   a user's row times an item's, element by element
    Dot       the sum of such a product: a number
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

USER, ITEM, PAIR = "user", "item", "pair"
PAIR_COUNT = "recoserve.pair_count"  # int64 [1], known to the program of pairs: how many there are
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Known:
    """A constant; it may have a first axis of 1 in place of the pairs, and has where it was `spread` over them."""

    array: NDArray[Any]
    spread: bool = False

    def row(self, rank: int) -> NDArray[Any]:
        """The constant as it meets rows of `rank` dimensions."""
        return self.array[0] if self.array.ndim == rank + 1 and self.array.shape[0] == 1 else self.array


@dataclass(frozen=True)
class Sizes:
    """Integers that are other ones at 2 and at 3 pairs."""


@dataclass(frozen=True)
class One:
    """One side's rows: value `name` of that side's program, each of `shape`."""

    side: str
    name: str
    shape: Shape


@dataclass(frozen=True)
class Rows:
    """A row of `shape` for each pair: value `name` of the program of pairs."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class Parts:
    """Forms side by side along `axis` of their rows, which is negative: -1 is the last."""

    parts: "tuple[Part, ...]"
    shape: Shape
    axis: int = -1


@dataclass(frozen=True)
class Sum:
    """Forms added up; each may be narrower than the sum where it broadcasts."""

    terms: "tuple[Form, ...]"
    shape: Shape


@dataclass(frozen=True)
class Product:
    """A user's row times an item's, of the same shape; `scaled` as in `Dot`."""

    user: One
    item: One
    shape: Shape
    scaled: bool = False

    def with_side(self, one: One, scaled: bool = True) -> "Product":
        """The same with one side's rows replaced."""
        user, item = (one, self.item) if one.side == USER else (self.user, one)
        return replace(self, user=user, item=item, scaled=self.scaled or scaled)


@dataclass(frozen=True)
class Dot:
    """The dot product of a user's and an item's vector, each of shape (d,).

    `scaled` tells that a weight was absorbed, so that the vectors' lengths and signs are not the model's own.
    """

    user: One
    item: One
    shape: Shape
    scaled: bool = False

    def with_side(self, one: One, scaled: bool = True) -> "Dot":
        """The same with one side's vector replaced."""
        user, item = (one, self.item) if one.side == USER else (self.user, one)
        return replace(self, user=user, item=item, scaled=self.scaled or scaled)


Part = One | Rows | Product
Form = Known | One | Rows | Parts | Sum | Product | Dot
Value = Form | Sizes


def needed(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """Those nodes that `outputs` depend on, in their order."""
    wanted, kept = set(outputs), list[onnx.NodeProto]()
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


class Programs:
    """Three lists of nodes that grow while a graph is read: one for users, one for items, one for pairs."""

    def __init__(self, opset: int, constants: Mapping[str, NDArray[Any]]) -> None:
        self.opset = opset
        self.constants = dict(constants)
        self.nodes: dict[str, list[onnx.NodeProto]] = {USER: [], ITEM: [], PAIR: []}
        self.crossing: dict[str, One] = {}
        self.widest = 1
        self.scaled: dict[str, tuple[Rows, NDArray[Any]]] = {}  # rows that are others times a constant
        self.mapped: dict[str, tuple[str, NDArray[Any]]] = {}  # rows that are others through a matrix
        self._forced: dict[int, tuple[Form, str]] = {}
        self._fresh: Iterator[str] = (f"recoserve.{number}" for number in range(1 << 30))

    def constant(self, array: NDArray[Any]) -> str:
        """A new constant's name."""
        name = next(self._fresh)
        self.constants[name] = np.asarray(array)
        return name

    def emit(self, side: str, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append one node; its output's name."""
        name = next(self._fresh)
        self.nodes[side].append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def keep(self, side: str, node: onnx.NodeProto, inputs: Sequence[str]) -> None:
        """Append a node of the model's own, with other inputs."""
        kept = onnx.NodeProto()
        kept.CopyFrom(node)
        del kept.input[:]
        kept.input.extend(inputs)
        self.nodes[side].append(kept)

    def again(self, side: str, node: onnx.NodeProto, inputs: Sequence[str]) -> str:
        """Append a node of the model's own once more, with other inputs; its output's new name."""
        self.keep(side, node, inputs)
        again, name = self.nodes[side][-1], next(self._fresh)
        again.output[0], again.name = name, ""  # no two nodes may have one name
        return name

    def on(self, one: One, op: str, *others: str, shape: Shape, first: bool = True, **attributes: Any) -> One:
        """One side's rows behind one more operator of that side, as its first or its last input."""
        inputs = (one.name, *others) if first else (*others, one.name)
        return One(one.side, self.emit(one.side, op, inputs, **attributes), shape)

    def rows(self, name: str, shape: Shape) -> Rows:
        """A value of the program of pairs."""
        self.widest = max(self.widest, prod(shape))
        return Rows(name, shape)

    def times(self, rows: Rows, factor: NDArray[Any]) -> Rows:
        """Rows of pairs times a constant, which goes into the matrix that made them, where one did."""
        shape = np.broadcast_shapes(rows.shape, factor.shape)
        if rows.name in self.mapped and factor.ndim <= 1 and shape == rows.shape:
            source, weight = self.mapped[rows.name]
            return self.through(source, weight * factor, shape)
        scaled = self.rows(self.emit(PAIR, "Mul", [rows.name, self.constant(factor)]), shape)
        if factor.ndim <= 1 and shape == rows.shape:
            self.scaled[scaled.name] = rows, factor
        return scaled

    def through(self, name: str, weight: NDArray[Any], shape: Shape) -> Rows:
        """A value of pairs through a matrix [k, n], which takes up the constant that the value was multiplied by."""
        if name in self.scaled:
            rows, factor = self.scaled[name]
            return self.through(rows.name, weight * factor.reshape(-1, 1), shape)
        mapped = self.rows(self.emit(PAIR, "MatMul", [name, self.constant(weight)]), shape)
        self.mapped[mapped.name] = name, weight
        return mapped

    def force(self, form: Form) -> str:
        """The name under which the program of pairs has a form's value, which may have one row where it has no more."""
        if id(form) not in self._forced:
            self._forced[id(form)] = form, self._force(form)
        return self._forced[id(form)][1]

    def full(self, form: Form) -> str:
        """The same with a row for each pair, whatever it was before."""
        name = self.force(form)
        if isinstance(form, Known) and form.spread:
            return self._expanded(name, form.array.ndim - 1)
        return self._expanded(name, len(form.shape)) if isinstance(form, One) and form.side == USER else name

    def _expanded(self, name: str, rank: int) -> str:
        ones = self.constant(np.ones(rank, np.int64))
        target = self.emit(PAIR, "Concat", [PAIR_COUNT, ones], axis=0) if rank else PAIR_COUNT
        return self.emit(PAIR, "Expand", [name, target])

    def score(self, form: Form) -> str:
        """The name of a value of pairs with one number for each, in any shape: a last layer is faster as [1, pairs]."""
        if isinstance(form, Rows) and form.shape == (1,) and form.name in self.mapped:
            source, weight = self.mapped[form.name]
            return self.emit(PAIR, "Gemm", [self.constant(weight), source], transA=1, transB=1)
        return self.force(form)

    def sides(self, name: str) -> set[str]:
        """The sides that a value of pairs is made of."""
        used = {each for node in needed(self.nodes[PAIR], [name]) for each in node.input} | {name}
        return {one.side for one in self.crossing.values() if one.name in used}

    def float32(self, name: str, dtype: np.dtype[Any]) -> str:
        """A value of pairs as a score has to be."""
        return name if dtype == np.float32 else self.emit(PAIR, "Cast", [name], to=onnx.TensorProto.FLOAT)

    def _force(self, form: Form) -> str:
        match form:
            case Known(array):
                return self.constant(array)
            case Rows(name):
                return name
            case One(_, name):
                self.crossing[name] = form
                return name
            case Parts(parts):
                return self._made("Concat", [self.full(part) for part in parts], form.shape, axis=form.axis)
            case Sum((Rows(name, shape), Known(bias)), (_,)) if name in self.mapped and bias.ndim <= 1 and shape == form.shape:
                source, weight = self.mapped[name]
                return self._made("Gemm", [source, self.constant(weight), self.constant(bias)], form.shape)
            case Sum(terms):
                names = [self.force(term) for term in terms]
                while len(names) > 1:
                    names[:2] = [self._made("Add", names[:2], form.shape)]
                return names[0]
            case Product(user, item):
                return self._made("Mul", [self.force(user), self.force(item)], form.shape)
            case Dot(user, item):
                product = self._made("Gemm", [self.force(item), self.force(user)], (1,), transB=1)
                return (
                    product
                    if form.shape == (1,)
                    else self.emit(PAIR, "Reshape", [product, self.constant(np.array([-1, *form.shape]))])
                )
            case _:
                raise TypeError(f"{type(form).__name__} is no value of pairs")

    def _made(self, op: str, inputs: Sequence[str], shape: Shape, **attributes: Any) -> str:
        return self.rows(self.emit(PAIR, op, inputs, **attributes), shape).name
