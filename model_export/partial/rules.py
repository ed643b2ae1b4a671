"""The rules of partial evaluation: for each operator, what it does to two sides that are still apart.

A rule gives the form of the operator's result, or None where the sides can't be kept apart any longer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from model_export.partial import algebra
from model_export.partial.forms import Dot, Form, Known, One, Parts, Product, Programs, Rows, Shape, Sum


@dataclass(frozen=True)
class Step:
    """One operator as it is read: its inputs' forms, its result's row `shape`, and whether that is made of floats."""

    made: Programs
    node: onnx.NodeProto
    forms: tuple[Form | None, ...]
    shape: Shape
    floats: bool

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


Result = Form | list[Form] | None
Rule = Callable[[Step], Result]


def concat(step: Step) -> Result:
    """Side by side along the last axis: kept as parts."""
    axis, rank = step.attribute("axis"), len(step.shape) + 1
    if axis % rank != rank - 1 or rank < 2:
        return None
    parts: list[One | Rows | Product] = []
    for form in step.forms:
        for part in form.parts if isinstance(form, Parts) else (form,):
            if isinstance(part, Dot | Sum):
                parts.append(step.made.rows(step.made.force(part), part.shape))
            elif isinstance(part, One | Rows | Product):
                parts.append(part)
            else:
                return None
    return Parts(tuple(parts), step.shape)


def matmul(step: Step) -> Result:
    """A linear layer goes to each side; a row times a column is a dot product."""
    left, right = step.forms
    weight = step.known(1)
    if weight is not None and weight.ndim == 2 and left is not None:
        return algebra.linear(step.made, left, weight)
    if isinstance(left, One) and isinstance(right, One) and left.shape[:-1] == (1,) and right.shape[1:] == (1,):
        return algebra.dot(step.made, left, right, step.shape)
    return None


def gemm(step: Step) -> Result:
    """A linear layer with its bias."""
    left, weight = step.forms[0], step.known(1)
    bias = step.known(2) if len(step.forms) > 2 else None
    if left is None or weight is None or step.attribute("transA", 0) or (len(step.forms) > 2 and bias is None):
        return None
    turned = weight.T if step.attribute("transB", 0) else weight
    found = algebra.linear(step.made, left, turned * weight.dtype.type(step.attribute("alpha", 1.0)))
    if found is None or bias is None:
        return found
    return algebra.add(step.made, [found, Known(bias * weight.dtype.type(step.attribute("beta", 1.0)))], step.shape)


def add(step: Step) -> Result:
    """Terms of both sides: a bias, a residual, or a layer taken apart."""
    forms = [form for form in step.forms if form is not None]
    return algebra.add(step.made, forms, step.shape) if step.floats and _addable(forms) else None


def _addable(forms: list[Form]) -> bool:
    return all(isinstance(form, Known | One | Sum | Dot | Product | Rows) for form in forms)


def subtract(step: Step) -> Result:
    """A sum with one term turned round."""
    left, right = step.forms
    negative = algebra.scale(step.made, right, np.array(-1, np.float32)) if step.floats and right is not None else None
    if left is None or negative is None or not _addable([left, negative]):
        return None
    return algebra.add(step.made, [left, negative], step.shape)


def negative(step: Step) -> Result:
    """A scale of -1."""
    (form,) = step.forms
    return algebra.scale(step.made, form, np.array(-1, np.float32)) if step.floats and form is not None else None


def multiply(step: Step) -> Result:
    """A constant scales; one side scales the other, or a dot product."""
    for place, other in ((0, 1), (1, 0)):
        form, factor, one = step.forms[place], step.factor(other), step.forms[other]
        if not step.floats or form is None:
            return None
        found: Form | None = None
        if factor is not None:
            found = algebra.scale(step.made, form, factor)
        elif isinstance(one, One):
            found = algebra.times(step.made, form, one)
        elif isinstance(form, Dot) and isinstance(one, Product):
            found = _times_both(step, form, one.user, one.item)
        if found is not None:
            return found
    return None


def divide(step: Step) -> Result:
    """A product with the reciprocal: of a constant, of one side, or of both sides' lengths as in a cosine."""
    form, one, factor = step.forms[0], step.forms[1], step.factor(1)
    if not step.floats or form is None:
        return None
    if factor is not None:
        return algebra.scale(step.made, form, (1 / factor.astype(np.float64)).astype(factor.dtype))
    if isinstance(one, One):
        return algebra.times(step.made, form, step.made.on(one, "Reciprocal", shape=one.shape))
    if isinstance(form, Dot) and isinstance(one, Product):
        return _times_both(step, form, *(step.made.on(side, "Reciprocal", shape=side.shape) for side in (one.user, one.item)))
    return None


def _times_both(step: Step, form: Dot, user: One, item: One) -> Form | None:
    found = algebra.times(step.made, form, user)
    return algebra.times(step.made, found, item) if found is not None else None


def reduce_sum(step: Step) -> Result:
    """The sum of an elementwise product is a dot product."""
    form, mean = step.forms[0], step.node.op_type == "ReduceMean"
    axes = step.known(1) if len(step.forms) > 1 else step.attribute("axes")
    if not isinstance(form, Product) or axes is None or len(form.shape) != 1 or [int(axis) % 2 for axis in axes] != [1]:
        return None
    found = algebra.dot(step.made, form.user, form.item, step.shape)
    return algebra.scale(step.made, found, np.array(1 / form.shape[0], np.float32)) if mean and found is not None else found


def einsum(step: Step) -> Result:
    """`bd,bd->b` and its like: a dot product."""
    sides, _, result = step.attribute("equation").decode().replace(" ", "").partition("->")
    left, _, right = sides.partition(",")
    if left == right and len(left) == 2 and result == left[0] and all(form is not None for form in step.forms):
        return algebra.dot(step.made, step.forms[0], step.forms[1], step.shape)  # type: ignore[arg-type]
    return None


def reshape(step: Step) -> Result:
    """Rows keep their content."""
    return algebra.reshaped(step.made, step.forms[0], step.shape) if step.forms[0] is not None else None


def same(step: Step) -> Result:
    """Nothing happens to a value in inference."""
    return step.forms[0]


def cut(step: Step) -> Result:
    """Columns of what stands side by side."""
    form, axes, steps = step.forms[0], step.known(3), step.known(4)
    starts, stops = step.known(1), step.known(2)
    if (
        not isinstance(form, Parts)
        or starts is None
        or stops is None
        or axes is None
        or axes.tolist() not in ([len(form.shape)], [-1])
    ):
        return None
    if steps is not None and steps.tolist() != [1]:
        return None
    low, high, _ = slice(int(starts[0]), int(stops[0])).indices(form.shape[-1])
    return algebra.cut(step.made, form, low, high)


def split(step: Step) -> Result:
    """Columns of what stands side by side, piece by piece."""
    form, sizes = step.forms[0], step.known(1)
    if not isinstance(form, Parts) or step.attribute("axis", 0) not in (len(form.shape), -1):
        return None
    count = len(step.node.output)
    widths = sizes.tolist() if sizes is not None else [form.shape[-1] // count] * count
    stops = np.cumsum(widths).tolist()
    pieces = [algebra.cut(step.made, form, stop - width, stop) for width, stop in zip(widths, stops, strict=True)]
    return [piece for piece in pieces if piece is not None] if None not in pieces and stops[-1] == form.shape[-1] else None


def batch_normalization(step: Step) -> Result:
    """In inference a scale and a shift."""
    form, parameters = step.forms[0], [step.known(place) for place in range(1, 5)]
    if form is None or isinstance(form, Rows) or len(step.shape) != 1 or any(each is None for each in parameters):
        return None
    gamma, beta, mean, variance = (np.asarray(each, np.float64) for each in parameters)
    factor = gamma / np.sqrt(variance + step.attribute("epsilon", 1e-5))
    scaled = algebra.scale(step.made, form, factor.astype(np.float32))
    shift = Known((beta - mean * factor).astype(np.float32))
    return algebra.add(step.made, [scaled, shift], step.shape) if scaled is not None and _addable([scaled]) else None


RULES: dict[str, Rule] = {
    "Concat": concat,
    "MatMul": matmul,
    "Gemm": gemm,
    "Add": add,
    "Sub": subtract,
    "Neg": negative,
    "Mul": multiply,
    "Div": divide,
    "ReduceSum": reduce_sum,
    "ReduceMean": reduce_sum,
    "Einsum": einsum,
    "Reshape": reshape,
    "Squeeze": reshape,
    "Unsqueeze": reshape,
    "Flatten": reshape,
    "Identity": same,
    "Dropout": same,
    "Slice": cut,
    "Split": split,
    "BatchNormalization": batch_normalization,
}
