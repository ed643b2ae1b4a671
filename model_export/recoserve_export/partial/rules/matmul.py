"""Matrix products: a linear layer goes to both sides, and a row of one side by a column of the other is a dot product."""

from math import prod

from recoserve_export.partial import algebra
from recoserve_export.partial.rules.call import OperatorCall, Rewrite, rule
from recoserve_export.partial.shapes import reshape
from recoserve_export.partial.values import Constant, SideValue


@rule("MatMul")
def matmul(call: OperatorCall) -> Rewrite:
    """`(u + i) @ W = u @ W + i @ W`, `[u, i] @ [A; B] = u @ A + i @ B`, `(u * i) @ w = (u * w) . i`; and `u @ i.T = u . i`.

    Condition: the second input is a constant matrix or vector; or the inputs are one row and one column, of one side each.
    """
    value, other = call.inputs
    weight = call.constant(1)
    if weight is not None and weight.ndim in (1, 2) and value is not None:
        product = algebra.matmul(call.builder, value, weight.reshape(len(weight), -1))
        # A vector's product has no last axis, which a matrix of one column leaves behind.
        return reshape(call.builder, product, call.row_shape) if product is not None and weight.ndim == 1 else product
    if not isinstance(value, SideValue) or not isinstance(other, SideValue):
        return None
    # Of several rows or columns, the result would be as many dot products as it has numbers.
    is_row_by_column = value.row_shape[:-1] == (1,) and other.row_shape[1:] == (1,)
    return algebra.dot(call.builder, value, other, call.row_shape) if is_row_by_column else None


@rule("Gemm")
def gemm(call: OperatorCall) -> Rewrite:
    """`alpha * (x @ W) + beta * b = x @ (alpha * W) + (beta * b)`, where `x @ W` is distributed as for MatMul.

    Condition: W and b are constants; x isn't turned, which would make an axis of numbers of the axis of pairs.
    """
    value, weight = call.inputs[0], call.constant(1)
    bias = call.constant(2) if call.input(2) is not None else call.scalar(0)
    if value is None or weight is None or bias is None or call.attribute("transA", 0):
        return None
    matrix = weight.T if call.attribute("transB", 0) else weight
    product = algebra.matmul(call.builder, value, matrix * call.scalar(call.attribute("alpha", 1.0)))
    if product is None or not bias.any():
        return product
    return algebra.add(call.builder, [product, Constant(bias * call.scalar(call.attribute("beta", 1.0)))], call.row_shape)


@rule("Einsum")
def einsum(call: OperatorCall) -> Rewrite:
    """`bd,bd->b` is `u . i`; so are `bij,bkj->bik` and others, if i and k have one position each.

    Condition: two inputs, of one side each; both have the pairs first and then the same labels in the same order, not counting axes
    of one position; the result is one number for each pair.
    """
    operand_labels, arrow, result_labels = call.attribute("equation").decode().replace(" ", "").partition("->")
    labels = operand_labels.split(",")
    values = [value for value in call.inputs if isinstance(value, SideValue)]
    # `...` stands for any number of axes, and without an arrow the result's labels are implied: both are left for every pair.
    if not arrow or "." in operand_labels or len(labels) != 2 or len(values) != 2 or prod(call.row_shape) != 1:
        return None
    first, second = (
        [label for label, size in zip(axes[1:], value.row_shape, strict=True) if size > 1]
        for axes, value in zip(labels, values, strict=True)
    )
    # A label that an operand has twice means its diagonal.
    has_diagonal = any(len(set(axes)) < len(axes) for axes in labels)
    if len({labels[0][0], labels[1][0], result_labels[0]}) > 1 or first != second or has_diagonal:
        return None
    return algebra.dot(call.builder, values[0], values[1], call.row_shape)
