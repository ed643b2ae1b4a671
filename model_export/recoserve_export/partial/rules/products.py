"""Multiplication and division, number by number."""

import numpy as np

from recoserve_export.partial import algebra
from recoserve_export.partial.rules.call import OperatorCall, Rewrite, rule
from recoserve_export.partial.values import Constant, DotProduct, ElementwiseProduct, SideValue, Value


@rule("Mul")
def multiply(call: OperatorCall) -> Rewrite:
    """`(u + i) * c = u * c + i * c` if c is a constant or a side's value; `u * i` becomes an elementwise product.

    Condition: floats; one of the inputs is a constant, a side's value or a product of both sides.
    """
    for index, other in ((0, 1), (1, 0)):
        value, factor, constant = call.inputs[index], call.inputs[other], call.broadcastable_constant(other)
        if not call.is_float or value is None or isinstance(value, Constant):
            continue
        product = algebra.scale(call.builder, value, constant) if constant is not None else _multiply(call, value, factor)
        if product is not None:
            return product
    return None


@rule("Div")
def divide(call: OperatorCall) -> Rewrite:
    """`x / c = x * (1 / c)`, `x / u = x * (1 / u)`; `(u . i) / (|u| * |i|) = (u / |u|) . (i / |i|)`, as in a cosine.

    Condition: floats; the divisor is a constant, a side's value or a product of both sides.
    """
    value, divisor, constant = call.inputs[0], call.inputs[1], call.broadcastable_constant(1)
    if not call.is_float or value is None or isinstance(value, Constant):
        return None
    if constant is not None:
        with np.errstate(all="ignore"):
            inverse = (1 / constant.astype(np.float64)).astype(constant.dtype)
        # 1 / 1e-40 overflows a float32, although x / 1e-40 needn't: an inverse of 0, infinity or NaN would change scores.
        return algebra.scale(call.builder, value, inverse) if np.isfinite(inverse).all() and inverse.all() else None
    if isinstance(divisor, SideValue):
        return algebra.multiply(call.builder, value, _reciprocal(call, divisor))
    if isinstance(divisor, ElementwiseProduct):
        inverses = ElementwiseProduct(_reciprocal(call, divisor.user), _reciprocal(call, divisor.item), divisor.row_shape)
        return _multiply(call, value, inverses)
    return None


def _reciprocal(call: OperatorCall, value: SideValue) -> SideValue:
    # The divisor may be 0 in rows that the model masks later. `write/item_tables.py` raises NotSeparable for the infinity.
    return call.builder.apply(value, "Reciprocal", row_shape=value.row_shape)


def _multiply(call: OperatorCall, value: Value, factor: Value | None) -> Value | None:
    if isinstance(factor, SideValue):
        return algebra.multiply(call.builder, value, factor)
    if isinstance(factor, ElementwiseProduct) and isinstance(value, DotProduct | ElementwiseProduct):
        product = algebra.multiply(call.builder, value, factor.user)
        return algebra.multiply(call.builder, product, factor.item) if product is not None else None
    return None
