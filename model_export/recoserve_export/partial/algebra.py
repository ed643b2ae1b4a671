"""Distributes sums, factors and matrices over the terms of a value, so that each side can be computed by itself.

A function returns None if the value's form doesn't allow it. That is no error: the caller can always compute the operator for every
pair instead.
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
    """The sum of the values, with at most one term of each side, and a constant term only if neither side has one.

    `(u + i) + (u' + i' + c) = (u + u') + (i + i' + c)`: the pair program has one addition left.
    """
    terms = [term for value in values for term in (value.terms if isinstance(value, LinearCombination) else (value,))]
    concatenations = [term for term in terms if isinstance(term, Concatenation)]
    constants = [term.broadcastable(len(row_shape)) for term in terms if isinstance(term, Constant)]
    constant: Array | None = sum(constants[1:], start=constants[0]) if constants else None
    if concatenations:
        # A constant can be split where the concatenation is; another value may be split elsewhere, or not at all.
        if constant is None or len(terms) != len(constants) + 1:
            return None
        return _add_to_concatenation(builder, concatenations[0], constant)
    side_terms = [[term for term in terms if isinstance(term, SideValue) and term.side == side] for side in (ITEM, USER)]
    side_sums = [_add_side_values(builder, same_side) for same_side in side_terms if same_side]
    if constant is not None and side_sums:
        # The item's sum comes first if there is one: it is computed at export, so the constant costs nothing at request time.
        broadcast_shape = np.broadcast_shapes(side_sums[0].row_shape, constant.shape)
        side_sums[0] = builder.apply(side_sums[0], "Add", builder.constant(constant), row_shape=broadcast_shape)
        constant = None
    two_sided_terms = [term for term in terms if not isinstance(term, Constant | SideValue)]
    combined = (*side_sums, *two_sided_terms, *([Constant(constant)] if constant is not None else []))
    return combined[0] if len(combined) == 1 else LinearCombination(combined, row_shape)


def _add_side_values(builder: ProgramBuilder, terms: Sequence[SideValue]) -> SideValue:
    """The sum of values of one side."""
    side_sum = terms[0]
    for term in terms[1:]:
        broadcast_shape = np.broadcast_shapes(side_sum.row_shape, term.row_shape)
        side_sum = builder.apply(side_sum, "Add", term.name, row_shape=broadcast_shape)
    return side_sum


def _add_to_concatenation(builder: ProgramBuilder, value: Concatenation, constant: Array) -> Value | None:
    """The concatenation plus a constant: `[u, i] + [b, c] = [u + b, i + c]`."""
    constants = split_constant(value, constant)
    if constants is None:
        return None
    sums = [
        add(builder, [operand, Constant(array)], operand.row_shape)
        for operand, array in zip(value.operands, constants, strict=True)
    ]
    return _concatenate(builder, sums, value.row_shape, value.axis)


def _concatenate(builder: ProgramBuilder, values: Sequence[Value | None], row_shape: RowShape, axis: int) -> Value | None:
    """The values side by side along `axis`; None if one of them is None."""
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
            scaled_shape = np.broadcast_shapes(row_shape, factor.shape)
            return _linear_combination([scale(builder, term, factor) for term in terms], scaled_shape)
        case ElementwiseProduct(_, item, row_shape) if np.broadcast_shapes(row_shape, factor.shape) == row_shape:
            scaled = builder.apply(item, "Mul", builder.constant(factor), row_shape=row_shape)
            return value.with_side(scaled, weighted=not _keeps_direction(factor))
        # A dot product is one number: a row of factors would make several of it.
        case DotProduct(_, item) if factor.size == 1:
            scaled = builder.apply(item, "Mul", builder.constant(factor.reshape(1)), row_shape=item.row_shape)
            return value.with_side(scaled, weighted=not _keeps_direction(factor))
        case Concatenation(operands, row_shape, axis):
            factors = split_constant(value, factor)
            if factors is None:
                return None
            scaled_operands = [scale(builder, operand, array) for operand, array in zip(operands, factors, strict=True)]
            return _concatenate(builder, scaled_operands, row_shape, axis)
        case _:
            return None


def _keeps_direction(factor: Array) -> bool:
    """True if the factor is the same positive number everywhere: then vectors keep their direction, and with it their cosine."""
    return bool((factor > 0).all() and (factor == factor.reshape(-1)[:1]).all())


def _linear_combination(terms: Sequence[Value | None], row_shape: RowShape) -> Value | None:
    """The sum of the terms; None if one of them is None."""
    present = tuple(term for term in terms if term is not None)
    return LinearCombination(present, row_shape) if len(present) == len(terms) else None


def multiply(builder: ProgramBuilder, value: Value, factor: SideValue) -> Value | None:
    """The value times a side's value, number by number: `(u + i) * u' = u * u' + i * u'`, `(u * i) * u' = (u * u') * i`."""
    match value:
        case SideValue(side) if value.row_shape == factor.row_shape:
            if side == factor.side:
                return builder.apply(value, "Mul", factor.name, row_shape=factor.row_shape)
            user, item = (value, factor) if side == USER else (factor, value)
            return ElementwiseProduct(user, item, value.row_shape)
        case ElementwiseProduct(user, item, row_shape) if factor.row_shape == row_shape:
            same_side = user if factor.side == USER else item
            return value.with_side(builder.apply(same_side, "Mul", factor.name, row_shape=row_shape))
        # (u . i) * c = u . (c * i) for a side's c of one number; a row of several numbers would need as many dot products.
        case DotProduct(user, item) if prod(factor.row_shape) == 1:
            same_side = user if factor.side == USER else item
            scaled = builder.apply(same_side, "Mul", flatten(builder, factor).name, row_shape=same_side.row_shape)
            return value.with_side(scaled)
        # A sum with a pair value is computed for every pair anyway: multiplying its other terms out would only add nodes.
        case LinearCombination(terms, row_shape) if factor.row_shape == row_shape and not any(
            isinstance(term, PairValue) for term in terms
        ):
            products = [
                scale(builder, factor, term.broadcastable(len(row_shape)))
                if isinstance(term, Constant)
                else multiply(builder, term, factor)
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
        # (u * i) @ w = (u * w) . i for a single column: this makes a dot product of a generalised matrix factorisation.
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
            weights = np.split(weight, stops)
            products = [matmul(builder, operand, rows) for operand, rows in zip(operands, weights, strict=True)]
        case LinearCombination(terms, sum_shape) if all(_has_last_axis(term, sum_shape) for term in terms):
            products = [matmul(builder, term, weight) for term in terms]
        case _:
            return None
    return None if None in products else add(builder, [product for product in products if product is not None], row_shape)


def _has_last_axis(term: Value, row_shape: RowShape) -> bool:
    """Whether a term has all numbers of the sum's last axis; one that broadcasts along it has too few for a matrix product."""
    return (term.array.shape if isinstance(term, Constant) else term.row_shape)[-1:] == row_shape[-1:]


def dot(builder: ProgramBuilder, first: SideValue, second: SideValue, row_shape: RowShape) -> DotProduct | None:
    """The dot product of a user's and an item's row, given in either order; None unless sides differ and sizes are equal."""
    if first.side == second.side or prod(first.row_shape) != prod(second.row_shape):
        return None
    user, item = (first, second) if first.side == USER else (second, first)
    return DotProduct(flatten(builder, user), flatten(builder, item), row_shape)


def reduce_sum(
    builder: ProgramBuilder, value: Value, axes: tuple[int, ...], row_shape: RowShape, dtype: np.dtype[Any]
) -> Value | None:
    """The value summed over the negative `axes` of its rows: `sum(u * i) = u . i`, `sum(u + i) = sum(u) + sum(i)`.

    `row_shape` is that of the sum, `dtype` that of the value.
    """
    keepdims = int(not isinstance(value, Constant) and len(row_shape) == len(value.row_shape))
    match value:
        case SideValue() | ElementwiseProduct() | DotProduct() | PairValue() if all(value.row_shape[axis] == 1 for axis in axes):
            return reshape(builder, value, row_shape)
        case SideValue():
            return builder.apply(value, "ReduceSum", builder.constant(np.array(axes)), row_shape=row_shape, keepdims=keepdims)
        case ElementwiseProduct(user, item, own_shape) if _leaves_one_number(own_shape, axes):
            return DotProduct(flatten(builder, user), flatten(builder, item), row_shape, value.weighted)
        # A product with a column of ones, so that a factor or a matrix before it is multiplied into the column.
        case PairValue(name, (size,)):
            return reshape(builder, builder.matmul(name, np.ones((size, 1), dtype), (1,)), row_shape)
        case PairValue() | ElementwiseProduct():
            inputs = [builder.materialise(value), builder.constant(np.array(axes))]
            return builder.pair_value(builder.emit(PAIR, "ReduceSum", inputs, keepdims=keepdims), row_shape)
        # A term that broadcasts would be added up once, and not once for each number that it broadcasts to.
        case LinearCombination(terms, sum_shape) if all(
            isinstance(term, Constant) or term.row_shape == sum_shape for term in terms
        ):
            sums = [
                _reduce_constant(term, sum_shape, axes, bool(keepdims)) or reduce_sum(builder, term, axes, row_shape, dtype)
                for term in terms
            ]
        case Concatenation(operands, _, axis) if axis in axes:
            shapes = [_reduced_shape(operand.row_shape, axes) if keepdims else row_shape for operand in operands]
            sums = [reduce_sum(builder, operand, axes, shape, dtype) for operand, shape in zip(operands, shapes, strict=True)]
        case _:
            return None
    return None if None in sums else add(builder, [term for term in sums if term is not None], row_shape)


def _leaves_one_number(row_shape: RowShape, axes: tuple[int, ...]) -> bool:
    """Whether a row summed over `axes` is one number."""
    return all(axis - len(row_shape) in axes for axis, size in enumerate(row_shape) if size > 1)


def _reduced_shape(row_shape: RowShape, axes: tuple[int, ...]) -> RowShape:
    """The shape of a row summed over `axes`, which are kept with length 1."""
    return tuple(1 if axis - len(row_shape) in axes else size for axis, size in enumerate(row_shape))


def _reduce_constant(term: Value, sum_shape: RowShape, axes: tuple[int, ...], keepdims: bool) -> Constant | None:
    """A constant term of a linear combination, broadcast to its row shape and then summed; None if the term isn't constant."""
    if not isinstance(term, Constant):
        return None
    row = np.broadcast_to(term.broadcastable(len(sum_shape)), sum_shape)
    return Constant(row.sum(axis=axes, keepdims=keepdims, dtype=row.dtype))
