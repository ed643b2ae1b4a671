"""Sums and means over the axes of a row."""

from math import prod

from recoserve_export.partial import algebra
from recoserve_export.partial.rules.call import OperatorCall, Rewrite, rule
from recoserve_export.partial.values import Constant


@rule("ReduceSum", "ReduceMean")
def reduce_sum(call: OperatorCall) -> Rewrite:
    """`sum(u * i) = u . i`, `sum(u + i) = sum(u) + sum(i)`, `sum([u, i]) = sum(u) + sum(i)`; a mean of n numbers is their sum / n.

    Condition: floats; constant axes that leave out the axis of the pairs.
    """
    value = call.inputs[0]
    if value is None or isinstance(value, Constant) or not call.is_float:
        return None
    axes = call.reduced_axes(len(value.row_shape))
    if axes is None:
        return None
    row_sum = algebra.reduce_sum(call.builder, value, axes, call.row_shape, call.dtype)
    if row_sum is None or call.node.op_type == "ReduceSum":
        return row_sum
    return algebra.scale(call.builder, row_sum, call.scalar(1 / prod(value.row_shape[axis] for axis in axes)))
