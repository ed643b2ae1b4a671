"""Concatenation of values, and slices of a concatenation."""

import numpy as np

from recoserve_export.partial.rules.call import OperatorCall, Rewrite, rule
from recoserve_export.partial.shapes import as_operand, slice_concatenation
from recoserve_export.partial.values import Concatenation, Constant, Operand


@rule("Concat")
def concat(call: OperatorCall) -> Rewrite:
    """`Concat(u, i)` stays a concatenation, and `Concat(Concat(u, i), v)` becomes one of three operands.

    Condition: not along the axis of the pairs, and every input has a row for every pair.
    """
    rank = len(call.row_shape) + 1
    axis = call.attribute("axis") % rank - rank
    # A constant that isn't repeated has not as many rows as there are pairs, which the operator needs.
    if axis == -rank or any(isinstance(value, Constant) and not value.repeated for value in call.inputs):
        return None
    operands: list[Operand] = []
    for value in call.inputs:
        nested = value.operands if isinstance(value, Concatenation) and value.axis == axis else (value,)
        operands.extend(as_operand(call.builder, operand) for operand in nested if operand is not None)
    return Concatenation(tuple(operands), call.row_shape, axis)


@rule("Slice")
def slice_(call: OperatorCall) -> Rewrite:
    """`Concat(u, i)[:, a:b]` is a concatenation of slices of u and i.

    Condition: a slice of one axis, the one of the concatenation, that takes every position of it from start to stop.
    """
    value, (starts, stops, axes, steps) = call.inputs[0], (call.constant(index) for index in range(1, 5))
    if not isinstance(value, Concatenation) or starts is None or stops is None or axes is None or len(axes) != 1:
        return None
    rank = len(value.row_shape) + 1
    if int(axes[0]) % rank - rank != value.axis or (steps is not None and steps.tolist() != [1]):
        return None
    # ONNX counts and clamps positions as Python does; an empty slice has no operand to be made of.
    start, stop, _ = slice(int(starts[0]), int(stops[0])).indices(value.row_shape[value.axis])
    return slice_concatenation(call.builder, value, start, stop) if start < stop else None


@rule("Split")
def split(call: OperatorCall) -> Rewrite:
    """`Split(Concat(u, i))` is a list of concatenations of slices of u and i.

    Condition: along the axis of the concatenation; the sizes are constants that add up, or are left out for outputs of equal size.
    """
    value, sizes = call.inputs[0], call.constant(1)
    if not isinstance(value, Concatenation):
        return None
    if call.attribute("axis", 0) not in (len(value.row_shape) + 1 + value.axis, value.axis):
        return None
    axis_length, output_count = value.row_shape[value.axis], len(call.node.output)
    equal = -(-axis_length // output_count)  # rounded up, so that the last output may be smaller
    widths = sizes.tolist() if sizes is not None else [equal] * (output_count - 1) + [axis_length - equal * (output_count - 1)]
    stops = np.cumsum(widths).tolist()
    if stops[-1] != axis_length or min(widths) < 1:
        return None
    return [slice_concatenation(call.builder, value, stop - width, stop) for width, stop in zip(widths, stops, strict=True)]
