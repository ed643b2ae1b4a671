"""Sums, factors and matrices distributed over a value's form, so that they move to the sides. None if the form doesn't allow it.

None and no exception: the caller can always compute the operator for every pair instead, and mostly does; it is no error.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve_export.partial.builder import ProgramBuilder
from recoserve_export.partial.shapes import as_operand, flatten, reshape, split_constant
from recoserve_export.partial.values import (
    ITEM,
    PAIR,
    USER,
    Concatenation,
    Constant,
    DotProduct,
    ElementwiseProduct,
    LinearCombination,
    PairValue,
    RowShape,
    SideValue,
    Value,
)

Array = NDArray[Any]


def add(builder: ProgramBuilder, values: Sequence[Value], row_shape: RowShape) -> Value | None:
    """The sum of the values, with at most one term of each side and one constant.

    `(u + i) + (u' + i' + c) = (u + u') + (i + i' + c)`: one addition is left for every pair.
    """
    terms = [term for value in values for term in (value.terms if isinstance(value, LinearCombination) else (value,))]
    concatenations = [term for term in terms if isinstance(term, Concatenation)]
    constants = [term.row(len(row_shape)) for term in terms if isinstance(term, Constant)]
    constant: Array | None = sum(constants[1:], start=constants[0]) if constants else None
    if concatenations:
        # A constant can be cut where the concatenation is; another value may be cut elsewhere, or not at all.
        if constant is None or len(terms) != len(constants) + 1:
            return None
        return _add_to_concatenation(builder, concatenations[0], constant)
    side_terms = [[term for term in terms if isinstance(term, SideValue) and term.side == side] for side in (ITEM, USER)]
    side_sums = [_add_side_values(builder, same_side) for same_side in side_terms if same_side]
    if constant is not None and side_sums:
        # The item's side comes first: what joins it is computed at export, and costs no request anything.
        broadcast = np.broadcast_shapes(side_sums[0].row_shape, constant.shape)
        side_sums[0] = builder.apply(side_sums[0], "Add", builder.constant(constant), row_shape=broadcast)
        constant = None
    others = [term for term in terms if not isinstance(term, Constant | SideValue)]
    combined = (*side_sums, *others, *([Constant(constant)] if constant is not None else []))
    return combined[0] if len(combined) == 1 else LinearCombination(combined, row_shape)


def _add_side_values(builder: ProgramBuilder, terms: Sequence[SideValue]) -> SideValue:
    total = terms[0]
    for term in terms[1:]:
        broadcast = np.broadcast_shapes(total.row_shape, term.row_shape)
        total = builder.apply(total, "Add", term.name, row_shape=broadcast)
    return total


def _add_to_concatenation(builder: ProgramBuilder, value: Concatenation, constant: Array) -> Value | None:
    """`[u, i] + [b, c] = [u + b, i + c]`."""
    parts = split_constant(value, constant)
    if parts is None:
        return None
    sums = [add(builder, [operand, Constant(part)], operand.row_shape) for operand, part in zip(value.operands, parts, strict=True)]
    return _concatenate(builder, sums, value.row_shape, value.axis)


def _concatenate(builder: ProgramBuilder, values: Sequence[Value | None], row_shape: RowShape, axis: int) -> Value | None:
    operands = [value for value in values if value is not None]
    if len(operands) != len(values):
        return None
    return Concatenation(tuple(as_operand(builder, operand) for operand in operands), row_shape, axis)


def scale(builder: ProgramBuilder, value: Value, factor: Array) -> Value | None:
    """The value times a constant that broadcasts with its rows: `c * (u + i) = c * u + c * i`, `c * (u * i) = u * (c * i)`."""
    match value:
        case Constant(array):
            return Constant(array * factor)
        case SideValue(_, _, row_shape):
            return builder.apply(value, "Mul", builder.constant(factor), row_shape=np.broadcast_shapes(row_shape, factor.shape))
        case PairValue():
            return builder.multiply(value, factor)
        case LinearCombination(terms, row_shape):
            return _combine([scale(builder, term, factor) for term in terms], np.broadcast_shapes(row_shape, factor.shape))
        case ElementwiseProduct(_, item, row_shape) if np.broadcast_shapes(row_shape, factor.shape) == row_shape:
            scaled = builder.apply(item, "Mul", builder.constant(factor), row_shape=row_shape)
            return value.with_side(scaled, weighted=not _keeps_direction(factor))
        # A dot product takes one factor and no row of them, which would make several numbers of one.
        case DotProduct(_, item) if factor.size == 1:
            scaled = builder.apply(item, "Mul", builder.constant(factor.reshape(1)), row_shape=item.row_shape)
            return value.with_side(scaled, weighted=not _keeps_direction(factor))
        case Concatenation(operands, row_shape, axis):
            parts = split_constant(value, factor)
            if parts is None:
                return None
            scaled_operands = [scale(builder, operand, part) for operand, part in zip(operands, parts, strict=True)]
            return _concatenate(builder, scaled_operands, row_shape, axis)
        case _:
            return None


def _keeps_direction(factor: Array) -> bool:
    """Whether all vectors keep their direction, and with it their cosine: the factor is one positive number."""
    return bool((factor > 0).all() and (factor == factor.reshape(-1)[:1]).all())


def _combine(terms: Sequence[Value | None], row_shape: RowShape) -> Value | None:
    present = tuple(term for term in terms if term is not None)
    return LinearCombination(present, row_shape) if len(present) == len(terms) else None


def multiply(builder: ProgramBuilder, value: Value, factor: SideValue) -> Value | None:
    """The value times a side's rows, number by number: `(u + i) * v = u * v + i * v`, `(u * i) * v = (u * v) * i`."""
    match value:
        case SideValue(side) if value.row_shape == factor.row_shape:
            if side == factor.side:
                return builder.apply(value, "Mul", factor.name, row_shape=factor.row_shape)
            user, item = (value, factor) if side == USER else (factor, value)
            return ElementwiseProduct(user, item, value.row_shape)
        case ElementwiseProduct(user, item, row_shape) if factor.row_shape == row_shape:
            same_side = user if factor.side == USER else item
            return value.with_side(builder.apply(same_side, "Mul", factor.name, row_shape=row_shape))
        # (u . i) * c = u . (c * i) for one number a row; a row of several would ask for as many dot products.
        case DotProduct(user, item) if prod(factor.row_shape) == 1:
            same_side = user if factor.side == USER else item
            scaled = builder.apply(same_side, "Mul", flatten(builder, factor).name, row_shape=same_side.row_shape)
            return value.with_side(scaled)
        # A sum with a pair value is computed for every pair anyway: multiplying its other terms out would only add nodes.
        case LinearCombination(terms, row_shape) if factor.row_shape == row_shape and not any(
            isinstance(term, PairValue) for term in terms
        ):
            products = [
                scale(builder, factor, term.row(len(row_shape))) if isinstance(term, Constant) else multiply(builder, term, factor)
                for term in terms
            ]
            present = [product for product in products if product is not None]
            return add(builder, present, row_shape) if len(present) == len(terms) else None
        case _:
            return None


def matmul(builder: ProgramBuilder, value: Value, weight: Array) -> Value | None:
    """The value's last axis times a matrix [k, n]: `[u, i] @ [A; B] = u @ A + i @ B`, `(u + i) @ W = u @ W + i @ W`."""
    row_shape = (*value.row_shape[:-1], weight.shape[1]) if not isinstance(value, Constant) else ()
    match value:
        case Constant(array):
            return Constant(array @ weight)
        case SideValue():
            return builder.apply(value, "MatMul", builder.constant(weight), row_shape=row_shape)
        # (u * i) @ w = (u * w) . i for a single column: a generalised matrix factorisation comes to a dot product here.
        case ElementwiseProduct(user, item) if prod(row_shape) == 1:
            column = weight[:, 0]
            weighted = builder.apply(flatten(builder, user), "Mul", builder.constant(column), row_shape=column.shape)
            return DotProduct(weighted, flatten(builder, item), row_shape, value.weighted or not _keeps_direction(column))
        case DotProduct() if weight.size == 1:
            return scale(builder, value, weight.reshape(1))
        case PairValue() | ElementwiseProduct() | DotProduct():
            return builder.matmul(builder.materialise(value), weight, row_shape)
        case Concatenation(operands, _, axis) if axis != -1:
            return _concatenate(builder, [matmul(builder, operand, weight) for operand in operands], row_shape, axis)
        case Concatenation(operands):
            stops = np.cumsum([operand.row_shape[-1] for operand in operands])[:-1]
            blocks = np.split(weight, stops)
            products = [matmul(builder, operand, block) for operand, block in zip(operands, blocks, strict=True)]
        case LinearCombination(terms, before) if all(_has_last_axis(term, before) for term in terms):
            products = [matmul(builder, term, weight) for term in terms]
        case _:
            return None
    return None if None in products else add(builder, [product for product in products if product is not None], row_shape)


def _has_last_axis(term: Value, row_shape: RowShape) -> bool:
    """Whether a term has all numbers of the sum's last axis: one that broadcasts along it has too few for a matrix product."""
    return (term.array.shape if isinstance(term, Constant) else term.row_shape)[-1:] == row_shape[-1:]


def dot(builder: ProgramBuilder, first: SideValue, second: SideValue, row_shape: RowShape) -> DotProduct | None:
    """The dot product of a user's and an item's row, in either order; None unless they are of different sides and one size."""
    if first.side == second.side or prod(first.row_shape) != prod(second.row_shape):
        return None
    user, item = (first, second) if first.side == USER else (second, first)
    return DotProduct(flatten(builder, user), flatten(builder, item), row_shape)


def reduce_sum(builder: ProgramBuilder, value: Value, axes: tuple[int, ...], row_shape: RowShape, unit: Array) -> Value | None:
    """The value summed over `axes` of its rows, which are negative: `sum(u * i) = u . i`, `sum(u + i) = sum(u) + sum(i)`.

    `row_shape` is that of the result; `unit` is the number 1 in the value's dtype.
    """
    keepdims = int(not isinstance(value, Constant) and len(row_shape) == len(value.row_shape))
    match value:
        case SideValue() | ElementwiseProduct() | DotProduct() | PairValue() if all(value.row_shape[axis] == 1 for axis in axes):
            return reshape(builder, value, row_shape)
        case SideValue():
            return builder.apply(value, "ReduceSum", builder.constant(np.array(axes)), row_shape=row_shape, keepdims=keepdims)
        case ElementwiseProduct(user, item, before) if _reduces_all(before, axes):
            return DotProduct(flatten(builder, user), flatten(builder, item), row_shape, value.weighted)
        # As a matrix of ones, so that a factor or a matrix before it is folded into it.
        case PairValue(name, (size,)):
            return reshape(builder, builder.matmul(name, np.full((size, 1), unit), (1,)), row_shape)
        case PairValue() | ElementwiseProduct():
            inputs = [builder.materialise(value), builder.constant(np.array(axes))]
            return builder.pair_value(builder.emit(PAIR, "ReduceSum", inputs, keepdims=keepdims), row_shape)
        # A term that broadcasts would be counted once where it stands for several numbers.
        case LinearCombination(terms, before) if all(isinstance(term, Constant) or term.row_shape == before for term in terms):
            sums = [
                _reduce_constant(term, before, axes, bool(keepdims)) or reduce_sum(builder, term, axes, row_shape, unit)
                for term in terms
            ]
        case Concatenation(operands, _, axis) if axis in axes:
            shapes = [_reduced(operand.row_shape, axes) if keepdims else row_shape for operand in operands]
            sums = [reduce_sum(builder, operand, axes, shape, unit) for operand, shape in zip(operands, shapes, strict=True)]
        case _:
            return None
    return None if None in sums else add(builder, [term for term in sums if term is not None], row_shape)


def _reduces_all(row_shape: RowShape, axes: tuple[int, ...]) -> bool:
    """Whether one number is left of a row summed over `axes`."""
    return all(axis - len(row_shape) in axes for axis, size in enumerate(row_shape) if size > 1)


def _reduced(row_shape: RowShape, axes: tuple[int, ...]) -> RowShape:
    return tuple(1 if axis - len(row_shape) in axes else size for axis, size in enumerate(row_shape))


def _reduce_constant(term: Value, before: RowShape, axes: tuple[int, ...], keepdims: bool) -> Constant | None:
    """The sum of a constant term, broadcast to the rows of the linear combination first."""
    if not isinstance(term, Constant):
        return None
    row = np.broadcast_to(term.row(len(before)), before)
    return Constant(row.sum(axis=axes, keepdims=keepdims, dtype=row.dtype))
