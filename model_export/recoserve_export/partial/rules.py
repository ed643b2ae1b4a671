"""The rules of partial evaluation: for each operator, what it does to two sides that are still apart.

A rule gives the form of the operator's result, or None where the sides can't be kept apart any longer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from recoserve_export.partial import algebra, shapes
from recoserve_export.partial.values import PAIR, Dot, Form, Known, One, Part, Parts, Product, Programs, Shape


@dataclass(frozen=True)
class Step:
    """One operator as it is read: its inputs' forms, its first result's row `shape`, and `dtype`."""

    made: Programs
    node: onnx.NodeProto
    forms: tuple[Form | None, ...]
    shape: Shape
    dtype: np.dtype[Any]

    @property
    def floats(self) -> bool:
        """Whether the result is made of floats: whole numbers divide and overflow by laws of their own."""
        return np.issubdtype(self.dtype, np.floating)

    def number(self, value: float) -> NDArray[Any]:
        """A constant of the result's own type."""
        return np.asarray(value, self.dtype)

    def attribute(self, name: str, default: Any = None) -> Any:
        found = [helper.get_attribute_value(each) for each in self.node.attribute if each.name == name]
        return found[0] if found else default

    def known(self, place: int) -> NDArray[Any] | None:
        """A constant input's value."""
        form = self.forms[place] if place < len(self.forms) else None
        return form.array if isinstance(form, Known) else None

    def factor(self, place: int) -> NDArray[Any] | None:
        """A constant input as it meets the result's rows."""
        form = self.forms[place]
        return form.row(len(self.shape)) if isinstance(form, Known) else None

    def axes(self, rank: int) -> tuple[int, ...] | None:
        """The axes that are named, as negative numbers, of rows of `rank` dimensions; None without any, or with the pairs' own."""
        named = self.known(1) if len(self.forms) > 1 else self.attribute("axes")
        found = tuple(int(axis) % (rank + 1) - rank - 1 for axis in named) if named is not None else ()
        return found if found and -rank - 1 not in found else None


Result = Form | list[Form] | None
Rule = Callable[[Step], Result]


def concat(step: Step) -> Result:
    """Side by side: kept as parts."""
    rank = len(step.shape) + 1
    axis = step.attribute("axis") % rank - rank
    if axis == -rank or any(isinstance(form, Known) and not form.spread for form in step.forms):
        return None
    parts: list[Part] = []
    for form in step.forms:
        inner = form.parts if isinstance(form, Parts) and form.axis == axis else (form,)
        parts.extend(shapes.as_part(step.made, part) for part in inner if part is not None)
    return Parts(tuple(parts), step.shape, axis)


def matmul(step: Step) -> Result:
    """A linear layer goes to each side; a row times a column is a dot product."""
    left, right = step.forms
    weight = step.known(1)
    if weight is not None and weight.ndim in (1, 2) and left is not None:
        found = algebra.linear(step.made, left, weight.reshape(len(weight), -1))
        return shapes.reshaped(step.made, found, step.shape) if found is not None and weight.ndim == 1 else found
    if isinstance(left, One) and isinstance(right, One) and left.shape[:-1] == (1,) and right.shape[1:] == (1,):
        return algebra.dot(step.made, left, right, step.shape)
    return None


def gemm(step: Step) -> Result:
    """A linear layer with its bias."""
    left, weight = step.forms[0], step.known(1)
    bias = step.known(2) if len(step.forms) > 2 and step.forms[2] is not None else step.number(0)
    if left is None or weight is None or bias is None or step.attribute("transA", 0):
        return None
    turned = weight.T if step.attribute("transB", 0) else weight
    found = algebra.linear(step.made, left, turned * step.number(step.attribute("alpha", 1.0)))
    if found is None or not bias.any():
        return found
    return algebra.add(step.made, [found, Known(bias * step.number(step.attribute("beta", 1.0)))], step.shape)


def add(step: Step) -> Result:
    """Terms of both sides: a bias, a residual, or a layer taken apart."""
    forms = [form for form in step.forms if form is not None]
    return algebra.add(step.made, forms, step.shape) if step.floats else None


def subtract(step: Step) -> Result:
    """A sum with one term turned round."""
    left, right = step.forms
    turned = algebra.scale(step.made, right, step.number(-1)) if step.floats and right is not None else None
    return algebra.add(step.made, [left, turned], step.shape) if left is not None and turned is not None else None


def negative(step: Step) -> Result:
    """A scale of -1."""
    (form,) = step.forms
    return algebra.scale(step.made, form, step.number(-1)) if step.floats and form is not None else None


def multiply(step: Step) -> Result:
    """A constant scales; one side's rows, or both sides', multiply."""
    for place, other in ((0, 1), (1, 0)):
        form, by, factor = step.forms[place], step.forms[other], step.factor(other)
        if not step.floats or form is None or isinstance(form, Known):
            continue
        found = algebra.scale(step.made, form, factor) if factor is not None else _times(step, form, by)
        if found is not None:
            return found
    return None


def divide(step: Step) -> Result:
    """A product with the reciprocal: of a constant, of one side, or of both sides' lengths as in a cosine."""
    form, by, factor = step.forms[0], step.forms[1], step.factor(1)
    if not step.floats or form is None or isinstance(form, Known):
        return None
    if factor is not None:
        with np.errstate(all="ignore"):
            inverse = (1 / factor.astype(np.float64)).astype(factor.dtype)
        return algebra.scale(step.made, form, inverse) if np.isfinite(inverse).all() and inverse.all() else None
    if isinstance(by, One):
        return algebra.times(step.made, form, _inverse(step, by))
    if isinstance(by, Product):
        return _times(step, form, Product(_inverse(step, by.user), _inverse(step, by.item), by.shape))
    return None


def _inverse(step: Step, one: One) -> One:
    return step.made.on(one, "Reciprocal", shape=one.shape)


def _times(step: Step, form: Form, by: Form | None) -> Form | None:
    if isinstance(by, One):
        return algebra.times(step.made, form, by)
    if isinstance(by, Product) and isinstance(form, Dot | Product):
        found = algebra.times(step.made, form, by.user)
        return algebra.times(step.made, found, by.item) if found is not None else None
    return None


def reduce_sum(step: Step) -> Result:
    """The sum of an elementwise product is a dot product; the sum of what stands side by side is a sum."""
    form = step.forms[0]
    axes = step.axes(len(form.shape)) if form is not None and not isinstance(form, Known) else None
    if form is None or isinstance(form, Known) or axes is None or not step.floats:
        return None
    found = algebra.total(step.made, form, axes, step.shape, step.number(1))
    if found is None or step.node.op_type == "ReduceSum":
        return found
    return algebra.scale(step.made, found, step.number(1 / prod(form.shape[axis] for axis in axes)))


def einsum(step: Step) -> Result:
    """`bd,bd->b`, `bij,bkj->bik` where i and k are 1, and their like: a dot product."""
    sides, arrow, result = step.attribute("equation").decode().replace(" ", "").partition("->")
    labels = sides.split(",")
    ones = [form for form in step.forms if isinstance(form, One)]
    if not arrow or "." in sides or len(labels) != 2 or len(ones) != 2 or prod(step.shape) != 1:
        return None
    left, right = (
        [label for label, size in zip(each[1:], one.shape, strict=True) if size > 1] for each, one in zip(labels, ones, strict=True)
    )
    if len({labels[0][0], labels[1][0], result[0]}) > 1 or left != right or any(len(set(each)) < len(each) for each in labels):
        return None
    return algebra.dot(step.made, ones[0], ones[1], step.shape)


def reshape(step: Step) -> Result:
    """Rows keep their content."""
    return shapes.reshaped(step.made, step.forms[0], step.shape) if step.forms[0] is not None else None


def same(step: Step) -> Result:
    """Nothing happens to a value, by Dropout only in inference."""
    training = step.known(2)
    return step.forms[0] if len(step.forms) < 3 or (training is not None and not training.any()) else None


def each(step: Step) -> Result:
    """An operator on single numbers works on each of those that stand side by side."""
    form = step.forms[0]
    bounds = [step.known(place) for place in range(1, len(step.forms)) if step.forms[place] is not None]
    if not isinstance(form, Parts) or any(bound is None or bound.size > 1 for bound in bounds):
        return None
    others = [step.made.force(other) if other is not None else "" for other in step.forms[1:]]
    made: list[Part] = []
    for part in form.parts:
        side = part.side if isinstance(part, One) else PAIR
        name = part.name if isinstance(part, One) else step.made.force(part)
        found = step.made.again(side, step.node, [name, *others])
        made.append(One(side, found, part.shape) if isinstance(part, One) else step.made.rows(found, part.shape))
    return Parts(tuple(made), form.shape, form.axis)


def cut(step: Step) -> Result:
    """Places of what stands side by side."""
    form, (starts, stops, axes, steps) = step.forms[0], (step.known(place) for place in range(1, 5))
    if not isinstance(form, Parts) or starts is None or stops is None or axes is None or len(axes) != 1:
        return None
    rank = len(form.shape) + 1
    if int(axes[0]) % rank - rank != form.axis or (steps is not None and steps.tolist() != [1]):
        return None
    low, high, _ = slice(int(starts[0]), int(stops[0])).indices(form.shape[form.axis])
    return shapes.cut(step.made, form, low, high) if low < high else None


def split(step: Step) -> Result:
    """The same, piece by piece."""
    form, sizes = step.forms[0], step.known(1)
    if not isinstance(form, Parts) or step.attribute("axis", 0) not in (len(form.shape) + 1 + form.axis, form.axis):
        return None
    whole, count = form.shape[form.axis], len(step.node.output)
    size = -(-whole // count)
    widths = sizes.tolist() if sizes is not None else [size] * (count - 1) + [whole - size * (count - 1)]
    stops = np.cumsum(widths).tolist()
    if stops[-1] != whole or min(widths) < 1:
        return None
    return [shapes.cut(step.made, form, stop - width, stop) for width, stop in zip(widths, stops, strict=True)]


def batch_normalization(step: Step) -> Result:
    """In inference a scale and a shift."""
    form, parameters = step.forms[0], [step.known(place) for place in range(1, 5)]
    if form is None or len(step.shape) != 1 or any(each is None for each in parameters):
        return None
    gamma, beta, mean, variance = (np.asarray(each, np.float64) for each in parameters)
    factor = gamma / np.sqrt(variance + step.attribute("epsilon", 1e-5))
    scaled = algebra.scale(step.made, form, factor.astype(step.dtype))
    shift = Known((beta - mean * factor).astype(step.dtype))
    return algebra.add(step.made, [scaled, shift], step.shape) if scaled is not None else None


RESHAPES = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")
SINGLE = (
    *("Abs", "Cast", "Celu", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish", "Pow"),
    *("Reciprocal", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu"),
)
RULES: dict[str, Rule] = {
    **dict.fromkeys(RESHAPES, reshape),
    **dict.fromkeys(SINGLE, each),
    "Concat": concat,
    "MatMul": matmul,
    "Gemm": gemm,
    "Add": add,
    "Sum": add,
    "Sub": subtract,
    "Neg": negative,
    "Mul": multiply,
    "Div": divide,
    "ReduceSum": reduce_sum,
    "ReduceMean": reduce_sum,
    "Einsum": einsum,
    "Identity": same,
    "Dropout": same,
    "Slice": cut,
    "Split": split,
    "BatchNormalization": batch_normalization,
}
