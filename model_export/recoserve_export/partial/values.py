"""The abstract values of partial evaluation: for each value of the model's graph, which side of a pair it depends on, and how.

The graph scores a batch of pairs: every value that depends on an id has one row for each pair. Most values depend on one side only
and are worth computing once for each user or once for each item. For that, `builder.py` collects three programs, lists of ONNX
nodes: the user program and the item program compute the rows of one side, the pair program computes the rest for every pair.

    Constant            the same for every pair
    BatchShape          numbers that depend on the number of pairs alone, as a shape does
    SideValue           a per-user value or a per-item value: a row computed by the user or the item program
    PairValue           a per-pair value: a row computed by the pair program

A value that depends on both sides becomes a PairValue only when it must. As long as the operators allow, it is one of

    Concatenation       operands side by side along one axis
    LinearCombination   a sum of terms, whose constant factors have been multiplied into them
    ElementwiseProduct  a user's row times an item's row, number by number
    DotProduct          the sum of an elementwise product: one number

because a linear layer, a factor or a sum can be distributed over these: `(u + i) @ W = u @ W + i @ W` moves the matrix product,
which is most of the work, from the pair program into the programs of the two sides. (Throughout, `u` is a user's value, `i` an
item's, `*` is number by number and `@` the matrix product.)

The shape of a value is its row shape: that of one row, without the first axis, which stands for the pairs, the users or the items.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

from numpy.typing import NDArray

USER, ITEM, PAIR = "user", "item", "pair"
PAIR_COUNT = "recoserve.pair_count"  # an input of the pair program, int64 [1]: the number of pairs
RowShape = tuple[int, ...]


@dataclass(frozen=True)
class Constant:
    """An array that is the same for every pair.

    `repeated`: the graph computes one row for each pair, and all rows are equal; `array` is one of them, [1, *row_shape].
    """

    array: NDArray[Any]
    repeated: bool = False

    def broadcastable(self, row_rank: int) -> NDArray[Any]:
        """The array in a shape that broadcasts over rows with `row_rank` axes: an axis of length 1 for the pairs is dropped."""
        return self.array[0] if self.array.ndim == row_rank + 1 and self.array.shape[0] == 1 else self.array


@dataclass(frozen=True)
class BatchShape:
    """Numbers, such as the shape of a batch, that depend on the number of pairs and on nothing else."""


@dataclass(frozen=True)
class SideValue:
    """The value called `name` in the program of `side`, USER or ITEM."""

    side: str
    name: str
    row_shape: RowShape


@dataclass(frozen=True)
class PairValue:
    """The value called `name` in the pair program."""

    name: str
    row_shape: RowShape


@dataclass(frozen=True)
class Concatenation:
    """Operands side by side along an axis of their rows; `axis` is negative, -1 is the last."""

    operands: "tuple[Operand, ...]"
    row_shape: RowShape
    axis: int = -1


@dataclass(frozen=True)
class LinearCombination:
    """The sum of the terms; a term may have a smaller shape than the sum, and broadcasts to it."""

    terms: "tuple[Value, ...]"
    row_shape: RowShape


@dataclass(frozen=True)
class _UserTimesItem:
    user: SideValue
    item: SideValue
    row_shape: RowShape
    weighted: bool = False

    def with_side(self, value: SideValue, weighted: bool = True) -> Self:
        """The product with `value` in place of its side's value; pass False for `weighted` if both have the same direction."""
        user, item = (value, self.item) if value.side == USER else (self.user, value)
        return replace(self, user=user, item=item, weighted=self.weighted or weighted)


@dataclass(frozen=True)
class ElementwiseProduct(_UserTimesItem):
    """A user's row times an item's row of the same shape, number by number; `weighted` means the same as for a DotProduct."""


@dataclass(frozen=True)
class DotProduct(_UserTimesItem):
    """The dot product of a user's and an item's vector, each of row shape (d,).

    `weighted`: a weight was multiplied into a vector, so that its direction is no longer that of the model's own embedding, and
    cosine similarity of these vectors would mean nothing to the model's author.
    """


Operand = SideValue | PairValue | ElementwiseProduct
Value = Constant | SideValue | PairValue | Concatenation | LinearCombination | ElementwiseProduct | DotProduct
