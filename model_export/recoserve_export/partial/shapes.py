"""Reshapes, concatenations and slices of values: their numbers stay the same. None if a value's form doesn't allow it."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve_export.partial.builder import ProgramBuilder
from recoserve_export.partial.values import (
    PAIR,
    Concatenation,
    Constant,
    DotProduct,
    ElementwiseProduct,
    LinearCombination,
    Operand,
    PairValue,
    RowShape,
    SideValue,
    Value,
)


def as_operand(builder: ProgramBuilder, value: Value) -> Operand:
    """The value as an operand of a concatenation; any other form than an operand's is computed for every pair."""
    if isinstance(value, SideValue | PairValue | ElementwiseProduct):
        return value
    name = builder.materialise_rows(value)
    return builder.pair_value(name, value.array.shape[1:] if isinstance(value, Constant) else value.row_shape)


def flatten(builder: ProgramBuilder, value: SideValue) -> SideValue:
    """The value with rows of one axis."""
    size = prod(value.row_shape)
    return value if value.row_shape == (size,) else reshape_side(builder, value, (size,))


def split_constant(value: Concatenation, constant: NDArray[Any]) -> list[NDArray[Any]] | None:
    """For each operand the numbers of a broadcasting constant at its positions; None if the constant would make the rows wider."""
    if np.broadcast_shapes(value.row_shape, constant.shape) != value.row_shape:
        return None
    if constant.ndim < -value.axis or constant.shape[value.axis] == 1:
        return [constant] * len(value.operands)
    stops = np.cumsum([operand.row_shape[value.axis] for operand in value.operands])[:-1]
    return list(np.split(constant, stops, value.axis))


def reshape_side(builder: ProgramBuilder, value: SideValue, row_shape: RowShape) -> SideValue:
    """A side's value with rows of another shape."""
    return builder.apply(value, "Reshape", builder.constant(_any_rows(row_shape)), row_shape=row_shape)


def _any_rows(row_shape: RowShape) -> NDArray[np.int64]:
    """The shape that a Reshape takes for any number of such rows."""
    return np.array([-1, *row_shape])


def reshape(builder: ProgramBuilder, value: Value, row_shape: RowShape) -> Value | None:
    """The value with rows of another shape."""
    match value:
        case SideValue():
            return reshape_side(builder, value, row_shape)
        case PairValue(name, own_shape):
            if own_shape == row_shape:
                return value
            return builder.pair_value(builder.emit(PAIR, "Reshape", [name, builder.constant(_any_rows(row_shape))]), row_shape)
        case DotProduct():
            return DotProduct(value.user, value.item, row_shape, value.weighted)
        case ElementwiseProduct(user, item):
            user, item = (reshape_side(builder, side_value, row_shape) for side_value in (user, item))
            return ElementwiseProduct(user, item, row_shape, value.weighted)
        # A term that broadcasts has fewer numbers than the sum: no shape of its own would broadcast to the reshaped rows.
        case LinearCombination(terms, sum_shape) if all(
            isinstance(term, Constant) or prod(term.row_shape) == prod(sum_shape) for term in terms
        ):
            reshaped = [_reshape_constant(term, sum_shape, row_shape) or reshape(builder, term, row_shape) for term in terms]
            return None if None in reshaped else LinearCombination(tuple(term for term in reshaped if term is not None), row_shape)
        case Concatenation(operands):
            layout = _concatenated_layout(value, row_shape)
            if layout is None:
                return None
            axis, operand_shapes = layout
            reshaped = [reshape(builder, operand, shape) for operand, shape in zip(operands, operand_shapes, strict=True)]
            return Concatenation(
                tuple(as_operand(builder, operand) for operand in reshaped if operand is not None), row_shape, axis
            )
        case _:
            return None


def _reshape_constant(term: Value, sum_shape: RowShape, row_shape: RowShape) -> Constant | None:
    """A constant term of a sum, broadcast to the sum's row shape and then reshaped; None if the term isn't constant."""
    if not isinstance(term, Constant):
        return None
    return Constant(np.broadcast_to(term.broadcastable(len(sum_shape)), sum_shape).reshape(row_shape))


def _concatenated_layout(value: Concatenation, row_shape: RowShape) -> tuple[int, list[RowShape]] | None:
    """The axis along which the operands are side by side in the reshaped rows, and the row shape of each operand.

    None if the operands' numbers alternate in memory, as those of a concatenation along an inner axis do: no axis separates them.
    """
    # The last axis stays as it is, and so does the concatenation along it.
    if value.axis == -1 and row_shape[-1:] == value.row_shape[-1:]:
        return -1, [(*row_shape[:-1], operand.row_shape[-1]) for operand in value.operands]
    # Otherwise the operands must follow each other in memory: no axis before theirs is longer than 1. Then the first axis of the
    # reshaped rows that is longer than 1 separates them, if each operand fills some of its positions completely.
    first_axis = next((axis for axis, size in enumerate(row_shape) if size > 1), len(row_shape) - 1)
    inner_size = max(prod(row_shape[first_axis + 1 :]), 1)
    sizes = [prod(operand.row_shape) for operand in value.operands]
    if prod(value.row_shape[: value.axis]) != 1 or not row_shape or any(size % inner_size for size in sizes):
        return None
    return first_axis - len(row_shape), [
        (*row_shape[:first_axis], size // inner_size, *row_shape[first_axis + 1 :]) for size in sizes
    ]


def slice_concatenation(builder: ProgramBuilder, value: Concatenation, start: int, stop: int) -> Value:
    """Positions `start` to `stop` - 1 of a concatenation's axis, at least one; operands that lie within are used as they are."""
    operands, operand_start = list[Operand](), 0
    for operand in value.operands:
        width = operand.row_shape[value.axis]
        low, high = max(start - operand_start, 0), min(stop - operand_start, width)
        if low < high:
            operands.append(operand if (low, high) == (0, width) else _slice(builder, operand, value.axis, low, high))
        operand_start += width
    if len(operands) == 1:
        return operands[0]
    return Concatenation(tuple(operands), _resized(value.row_shape, value.axis, stop - start), value.axis)


def _slice(builder: ProgramBuilder, operand: Operand, axis: int, low: int, high: int) -> Operand:
    row_shape = _resized(operand.row_shape, axis, high - low)
    bounds = [builder.constant(np.array([number])) for number in (low, high, axis)]
    match operand:
        case SideValue():
            return builder.apply(operand, "Slice", *bounds, row_shape=row_shape)
        case ElementwiseProduct(user, item):
            user, item = (builder.apply(side_value, "Slice", *bounds, row_shape=row_shape) for side_value in (user, item))
            return ElementwiseProduct(user, item, row_shape, operand.weighted)
        case PairValue(name):
            return builder.pair_value(builder.emit(PAIR, "Slice", [name, *bounds]), row_shape)


def _resized(row_shape: RowShape, axis: int, size: int) -> RowShape:
    """The shape with another size along `axis`, which is negative."""
    axis += len(row_shape)
    return (*row_shape[:axis], size, *row_shape[axis + 1 :])
