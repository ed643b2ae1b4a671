"""Sums, scales and linear maps of forms: what keeps the two sides apart. None where a form doesn't allow it."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve_export.partial.shapes import as_part, flat, pieces_of, reshaped
from recoserve_export.partial.values import ITEM, USER, Dot, Form, Known, One, Parts, Product, Programs, Rows, Shape, Sum

Constant = NDArray[Any]


def add(made: Programs, forms: Sequence[Form], shape: Shape) -> Form | None:
    """The sum, with at most one term of each side and one constant, which joins a side where there is one."""
    terms = [term for form in forms for term in (form.terms if isinstance(form, Sum) else (form,))]
    parts = [term for term in terms if isinstance(term, Parts)]
    known = [term.row(len(shape)) for term in terms if isinstance(term, Known)]
    if parts:
        return _shifted(made, parts[0], sum(known[1:], start=known[0])) if known and len(terms) == len(known) + 1 else None
    sides = {side: _added(made, [term for term in terms if isinstance(term, One) and term.side == side]) for side in (ITEM, USER)}
    for side, one in sides.items():
        if known and one is not None:
            constant = sum(known[1:], start=known[0])
            sides[side] = made.on(one, "Add", made.constant(constant), shape=np.broadcast_shapes(one.shape, constant.shape))
            known = []
    ones: list[Form] = [one for one in sides.values() if one is not None]
    others = [term for term in terms if not isinstance(term, Known | One)]
    constants = [Known(sum(known[1:], start=known[0]))] if known else []
    left = (*ones, *others, *constants)
    return left[0] if len(left) == 1 else Sum(left, shape)


def _added(made: Programs, ones: Sequence[One]) -> One | None:
    if not ones:
        return None
    total = ones[0]
    for one in ones[1:]:
        total = made.on(total, "Add", one.name, shape=np.broadcast_shapes(total.shape, one.shape))
    return total


def _shifted(made: Programs, form: Parts, constant: Constant) -> Form | None:
    """A constant added to what stands side by side."""
    shares = pieces_of(form, constant)
    if shares is None:
        return None
    sums = [add(made, [part, Known(share)], part.shape) for part, share in zip(form.parts, shares, strict=True)]
    return _beside(made, sums, form.shape, form.axis)


def _beside(made: Programs, pieces: Sequence[Form | None], shape: Shape, axis: int) -> Form | None:
    kept = [piece for piece in pieces if piece is not None]
    return Parts(tuple(as_part(made, piece) for piece in kept), shape, axis) if len(kept) == len(pieces) else None


def scale(made: Programs, form: Form, factor: Constant) -> Form | None:
    """The form times a constant that broadcasts over its rows."""
    match form:
        case Known(array):
            return Known(array * factor)
        case One():
            return made.on(form, "Mul", made.constant(factor), shape=np.broadcast_shapes(form.shape, factor.shape))
        case Rows():
            return made.times(form, factor)
        case Sum(terms, shape):
            return _sum([scale(made, term, factor) for term in terms], np.broadcast_shapes(shape, factor.shape))
        case Product(_, item, shape) if np.broadcast_shapes(shape, factor.shape) == shape:
            return form.with_side(made.on(item, "Mul", made.constant(factor), shape=shape), scaled=not _one_length(factor))
        case Dot(_, item) if factor.size == 1:
            one = made.constant(factor.reshape(1))
            return form.with_side(made.on(item, "Mul", one, shape=item.shape), scaled=not _one_length(factor))
        case Parts(parts, shape, axis):
            shares = pieces_of(form, factor)
            if shares is None:
                return None
            return _beside(made, [scale(made, part, share) for part, share in zip(parts, shares, strict=True)], shape, axis)
        case _:
            return None


def _one_length(factor: Constant) -> bool:
    """Whether a factor makes vectors longer or shorter and nothing else."""
    return bool((factor > 0).all() and (factor == factor.reshape(-1)[:1]).all())


def _sum(terms: Sequence[Form | None], shape: Shape) -> Form | None:
    kept = tuple(term for term in terms if term is not None)
    return Sum(kept, shape) if len(kept) == len(terms) else None


def times(made: Programs, form: Form, one: One) -> Form | None:
    """The form times one side's rows, element by element."""
    match form:
        case One(side) if form.shape == one.shape:
            if side == one.side:
                return made.on(form, "Mul", one.name, shape=one.shape)
            user, item = (form, one) if side == USER else (one, form)
            return Product(user, item, form.shape)
        case Product(user, item, shape) if one.shape == shape:
            mine = user if one.side == USER else item
            return form.with_side(made.on(mine, "Mul", one.name, shape=shape))
        case Dot(user, item) if prod(one.shape) == 1:
            mine = user if one.side == USER else item
            return form.with_side(made.on(mine, "Mul", flat(made, one).name, shape=mine.shape))
        case Sum(terms, shape) if one.shape == shape and not any(isinstance(term, Rows) for term in terms):
            products = [
                scale(made, one, term.row(len(shape))) if isinstance(term, Known) else times(made, term, one) for term in terms
            ]
            kept = [product for product in products if product is not None]
            return add(made, kept, shape) if len(kept) == len(terms) else None
        case _:
            return None


def linear(made: Programs, form: Form, weight: Constant) -> Form | None:
    """The form's last axis through a matrix [k, n]."""
    wide = (*form.shape[:-1], weight.shape[1]) if not isinstance(form, Known) else ()
    match form:
        case Known(array):
            return Known(array @ weight)
        case One():
            return made.on(form, "MatMul", made.constant(weight), shape=wide)
        case Product(user, item, shape) if prod(wide) == 1:
            column = weight[:, 0]
            weighted = made.on(flat(made, user), "Mul", made.constant(column), shape=column.shape)
            return Dot(weighted, flat(made, item), wide, form.scaled or not _one_length(column))
        case Dot() if weight.size == 1:
            return scale(made, form, weight.reshape(1))
        case Rows() | Product() | Dot():
            return made.through(made.force(form), weight, wide)
        case Parts(parts, _, axis) if axis != -1:
            return _beside(made, [linear(made, part, weight) for part in parts], wide, axis)
        case Parts(parts):
            stops = np.cumsum([part.shape[-1] for part in parts])[:-1]
            pieces = [linear(made, part, rows) for part, rows in zip(parts, np.split(weight, stops), strict=True)]
        case Sum(terms, shape) if all(_reaches(term, shape) for term in terms):
            pieces = [linear(made, term, weight) for term in terms]
        case _:
            return None
    return None if None in pieces else add(made, [piece for piece in pieces if piece is not None], wide)


def _reaches(term: Form, shape: Shape) -> bool:
    """Whether a term of a sum has its whole last axis."""
    return (term.array.shape if isinstance(term, Known) else term.shape)[-1:] == shape[-1:]


def dot(made: Programs, left: Form, right: Form, shape: Shape) -> Form | None:
    """The dot product of two forms' rows, where they are one side's each."""
    if not (isinstance(left, One) and isinstance(right, One) and left.side != right.side and prod(left.shape) == prod(right.shape)):
        return None
    user, item = (left, right) if left.side == USER else (right, left)
    return Dot(flat(made, user), flat(made, item), shape)


def total(made: Programs, form: Form, axes: tuple[int, ...], shape: Shape, unit: Constant) -> Form | None:
    """The form summed over `axes` of its rows, which are negative; `shape` is what is left, and `unit` a 1 of the form's type."""
    keep = int(not isinstance(form, Known) and len(shape) == len(form.shape))
    match form:
        case One() | Product() | Dot() | Rows() if all(form.shape[axis] == 1 for axis in axes):
            return reshaped(made, form, shape)
        case One():
            return made.on(form, "ReduceSum", made.constant(np.array(axes)), shape=shape, keepdims=keep)
        case Product(user, item, full) if all(at - len(full) in axes for at, size in enumerate(full) if size > 1):
            return Dot(flat(made, user), flat(made, item), shape, form.scaled)
        case Rows(name, (size,)):
            return reshaped(made, made.through(name, np.full((size, 1), unit), (1,)), shape)
        case Rows() | Product():
            sums = made.emit("pair", "ReduceSum", [made.force(form), made.constant(np.array(axes))], keepdims=keep)
            return made.rows(sums, shape)
        case Sum(terms, full) if all(isinstance(term, Known) or term.shape == full for term in terms):
            pieces = [_total_known(term, full, axes, bool(keep)) or total(made, term, axes, shape, unit) for term in terms]
        case Parts(parts, full, axis) if axis in axes:
            sizes = [part.shape for part in parts]
            left = [tuple(1 if at - len(size) in axes else n for at, n in enumerate(size)) if keep else shape for size in sizes]
            pieces = [total(made, part, axes, rest, unit) for part, rest in zip(parts, left, strict=True)]
        case _:
            return None
    return None if None in pieces else add(made, [piece for piece in pieces if piece is not None], shape)


def _total_known(term: Form, full: Shape, axes: tuple[int, ...], keep: bool) -> Known | None:
    if not isinstance(term, Known):
        return None
    row = np.broadcast_to(term.row(len(full)), full)
    return Known(row.sum(axis=axes, keepdims=keep, dtype=row.dtype))
