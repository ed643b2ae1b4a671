"""Operators that return their input's numbers: in another shape, or unchanged."""

from recoserve_export.graph import operators
from recoserve_export.partial import shapes
from recoserve_export.partial.rules.call import OperatorCall, Rewrite, rule


@rule(*operators.RESHAPES)
def reshape(call: OperatorCall) -> Rewrite:
    """`reshape(u + i) = reshape(u) + reshape(i)`; the same holds for products, dot products and concatenations.

    Condition: no term of a sum broadcasts, and the operands of a concatenation don't alternate in memory.
    """
    value = call.inputs[0]
    return shapes.reshape(call.builder, value, call.row_shape) if value is not None else None


@rule("Identity", "Dropout")
def identity(call: OperatorCall) -> Rewrite:
    """`Identity(x) = x`, and `Dropout(x) = x` in inference. Condition: Dropout's third input, training, is left out or false."""
    training = call.constant(2)  # in training, Dropout draws random numbers
    return call.inputs[0] if len(call.inputs) < 3 or (training is not None and not training.any()) else None
