"""Addition, subtraction and negation: sums stay sums."""

from recoserve_export.partial import algebra
from recoserve_export.partial.rules.call import OperatorCall, Rewrite, rule


@rule("Add", "Sum")
def add(call: OperatorCall) -> Rewrite:
    """`(u + i) + u' = (u + u') + i`: a bias, a residual connection, or the sum of two layers. Condition: floats."""
    values = [value for value in call.inputs if value is not None]
    return algebra.add(call.builder, values, call.row_shape) if call.is_float else None


@rule("Sub")
def subtract(call: OperatorCall) -> Rewrite:
    """`x - y = x + (-1) * y`, whose terms are combined as for Add. Condition: floats, and y's form can be scaled."""
    value, subtrahend = call.inputs
    if value is None or subtrahend is None or not call.is_float:
        return None
    negated = algebra.scale(call.builder, subtrahend, call.scalar(-1))
    return algebra.add(call.builder, [value, negated], call.row_shape) if negated is not None else None


@rule("Neg")
def negate(call: OperatorCall) -> Rewrite:
    """`-(u + i) = (-1) * u + (-1) * i`. Condition: floats, and the input's form can be scaled."""
    (value,) = call.inputs
    return algebra.scale(call.builder, value, call.scalar(-1)) if call.is_float and value is not None else None
