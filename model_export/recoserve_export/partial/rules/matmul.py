"""Matrix products: a linear layer is computed for each side, and a row of one side by a column of the other is a dot product."""

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
        # The product with a vector has no last axis; that with the matrix of one column has one, of length 1.
        return reshape(call.builder, product, call.row_shape) if product is not None and weight.ndim == 1 else product
    if not isinstance(value, SideValue) or not isinstance(other, SideValue):
        return None
    # With several rows or columns the product would be several dot products, one for each of its numbers.
    is_row_by_column = value.row_shape[:-1] == (1,) and other.row_shape[1:] == (1,)
    return algebra.dot(call.builder, value, other, call.row_shape) if is_row_by_column else None


@rule("Gemm")
def gemm(call: OperatorCall) -> Rewrite:
    """`alpha * (x @ W) + beta * b = x @ (alpha * W) + (beta * b)`, where `x @ W` is distributed as for MatMul.

    Condition: W and b are constants; x isn't transposed, which would move the axis of the pairs.
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
    of length 1; the result is one number for each pair.
    """
    left_side, arrow, result_labels = call.attribute("equation").decode().replace(" ", "").partition("->")
    input_labels = left_side.split(",")
    values = [value for value in call.inputs if isinstance(value, SideValue)]
    # `...` means any number of axes, and without an arrow the result's labels are implied: this rule reads neither.
    if not arrow or "." in left_side or len(input_labels) != 2 or len(values) != 2 or prod(call.row_shape) != 1:
        return None
    first, second = (
        [label for label, size in zip(labels[1:], value.row_shape, strict=True) if size > 1]
        for labels, value in zip(input_labels, values, strict=True)
    )
    pair_labels = {labels[0] for labels in (*input_labels, result_labels)}
    # A label that an input has twice means its diagonal.
    has_diagonal = any(len(set(labels)) < len(labels) for labels in input_labels)
    if len(pair_labels) > 1 or first != second or has_diagonal:
        return None
    return algebra.dot(call.builder, values[0], values[1], call.row_shape)
