"""The abstract values of partial evaluation: for each value of the model's graph, which side of a pair it depends on, and how.

The graph scores a batch of pairs: every value that depends on an id has one row for each pair. Most of them depend on one side only
and are worth computing once for each user or once for each item. Three programs do that, lists of ONNX nodes that `builder.py`
collects: the user program and the item program run on rows of one side, the pair program on what is left for every pair.

    Constant            the same for every pair
    BatchShape          integers computed from the number of pairs, as shapes are
    SideValue           a per-user value or a per-item value: a row computed by the user or the item program
    PairValue           a per-pair value: a row computed by the pair program

A value that depends on both sides becomes a PairValue only when it must. As long as the operators allow, it is one of

    Concatenation       operands side by side along one axis
    LinearCombination   terms added up, each with its factor already multiplied into it
    ElementwiseProduct  a user's row times an item's row, number by number
    DotProduct          the sum of such a product: one number

because these are what a linear layer, a scale or a sum can be distributed over: `(u + v) @ W = u @ W + v @ W` moves the matrix
product, which is most of the work, from the pair program into the programs of the two sides.

Shapes of values are row shapes: those of one row, without the first axis, which is the pairs, the users or the items.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

from numpy.typing import NDArray

USER, ITEM, PAIR = "user", "item", "pair"
PAIR_COUNT = "recoserve.pair_count"  # int64 [1], which the pair program may read: the number of pairs it runs for
RowShape = tuple[int, ...]


@dataclass(frozen=True)
class Constant:
    """An array that is the same for every pair.

    `repeated`: the graph computed it with one row for each pair, all of them equal; `array` has one of them, [1, *row_shape].
    """

    array: NDArray[Any]
    repeated: bool = False

    def row(self, rank: int) -> NDArray[Any]:
        """The array as it broadcasts over rows with `rank` axes: an axis of length 1 in place of the pairs is dropped."""
        return self.array[0] if self.array.ndim == rank + 1 and self.array.shape[0] == 1 else self.array


@dataclass(frozen=True)
class BatchShape:
    """Integers that depend on the number of pairs and on nothing else."""


@dataclass(frozen=True)
class SideValue:
    """Value `name` of the user program or of the item program, as `side` says."""

    side: str
    name: str
    row_shape: RowShape


@dataclass(frozen=True)
class PairValue:
    """Value `name` of the pair program."""

    name: str
    row_shape: RowShape


@dataclass(frozen=True)
class Concatenation:
    """Operands side by side along `axis` of their rows, which is negative: -1 is the last."""

    operands: "tuple[Operand, ...]"
    row_shape: RowShape
    axis: int = -1


@dataclass(frozen=True)
class LinearCombination:
    """The sum of the terms; a term may be narrower than the sum and broadcast to it."""

    terms: "tuple[Value, ...]"
    row_shape: RowShape


@dataclass(frozen=True)
class _UserTimesItem:
    user: SideValue
    item: SideValue
    row_shape: RowShape
    weighted: bool = False

    def with_side(self, value: SideValue, weighted: bool = True) -> Self:
        """The product with the value of one side replaced."""
        user, item = (value, self.item) if value.side == USER else (self.user, value)
        return replace(self, user=user, item=item, weighted=self.weighted or weighted)


@dataclass(frozen=True)
class ElementwiseProduct(_UserTimesItem):
    """A user's row times an item's row of the same shape; `weighted` as for a dot product."""


@dataclass(frozen=True)
class DotProduct(_UserTimesItem):
    """The dot product of a user's and an item's vector, each of row shape (d,).

    `weighted`: a weight was multiplied into a vector, so that its direction is no longer that of the model's own embedding, and
    cosine similarity of these vectors would mean nothing to the model's author.
    """


Operand = SideValue | PairValue | ElementwiseProduct
Value = Constant | SideValue | PairValue | Concatenation | LinearCombination | ElementwiseProduct | DotProduct
