"""Sums, scales, linear maps and reshapes of forms: what keeps the two sides apart. None where a form doesn't allow it."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_export.partial.forms import ITEM, USER, Dot, Form, Known, One, Parts, Product, Programs, Rows, Shape, Sum

Constant = NDArray[Any]


def add(made: Programs, forms: Sequence[Form], shape: Shape) -> Form:
    """The sum, with at most one term of each side and one constant, which joins a side where there is one."""
    terms = [term for form in forms for term in (form.terms if isinstance(form, Sum) else (form,))]
    known = [term.row(len(shape)) for term in terms if isinstance(term, Known)]
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


def scale(made: Programs, form: Form, factor: Constant) -> Form | None:
    """The form times a constant that broadcasts over its rows."""
    match form:
        case Known(array):
            return Known(array * factor)
        case One():
            return made.on(form, "Mul", made.constant(factor), shape=np.broadcast_shapes(form.shape, factor.shape))
        case Rows(name, shape):
            wide = np.broadcast_shapes(shape, factor.shape)
            return made.rows(made.emit("pair", "Mul", [name, made.constant(factor)]), wide)
        case Sum(terms, shape):
            scaled = [scale(made, term, factor) for term in terms]
            if any(term is None for term in scaled):
                return None
            return Sum(tuple(term for term in scaled if term is not None), np.broadcast_shapes(shape, factor.shape))
        case Product(user, item, shape) if np.broadcast_shapes(shape, factor.shape) == shape:
            return Product(user, made.on(item, "Mul", made.constant(factor), shape=shape), shape)
        case Dot(_, item) if factor.size == 1:
            one = made.constant(factor.reshape(1))
            return form.with_side(made.on(item, "Mul", one, shape=item.shape), scaled=bool(factor.min() <= 0))
        case Parts(parts, shape) if factor.size == 1:
            scaled = [scale(made, part, factor.reshape(1)) for part in parts]
            return Parts(tuple(scaled), shape)  # type: ignore[arg-type]  # a part is never a form that refuses a number
        case _:
            return None


def times(made: Programs, form: Form, one: One) -> Form | None:
    """The form times one side's rows, element by element."""
    match form:
        case One(side) if side != one.side and form.shape == one.shape:
            user, item = (form, one) if side == USER else (one, form)
            return Product(user, item, form.shape)
        case Product(user, item, shape) if one.shape == shape:
            mine = user if one.side == USER else item
            both = {one.side: made.on(mine, "Mul", one.name, shape=shape)}
            return Product(both.get(USER, user), both.get(ITEM, item), shape)
        case Dot(user, item) if prod(one.shape) == 1:
            mine = user if one.side == USER else item
            number = made.on(one, "Reshape", made.constant(np.array([-1, 1])), shape=(1,))
            return form.with_side(made.on(mine, "Mul", number.name, shape=mine.shape))
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
        case Rows(name):
            return made.rows(made.emit("pair", "MatMul", [name, made.constant(weight)]), wide)
        case Product(user, item, (_,)) if weight.shape[1] == 1:
            column = weight[:, 0]
            weighted = made.on(user, "Mul", made.constant(column), shape=user.shape)
            return Dot(weighted, item, wide, scaled=bool((column != column[0]).any() or column[0] <= 0))
        case Product():
            return linear(made, made.rows(made.force(form), form.shape), weight)
        case Parts(parts):
            stops = np.cumsum([part.shape[-1] for part in parts])[:-1]
            pieces = [linear(made, part, rows) for part, rows in zip(parts, np.split(weight, stops), strict=True)]
        case Sum(terms) if all(_reaches(term, form.shape) for term in terms):
            pieces = [linear(made, term, weight) for term in terms]
        case _:
            return None
    return None if any(piece is None for piece in pieces) else add(made, [piece for piece in pieces if piece is not None], wide)


def _reaches(term: Form, shape: Shape) -> bool:
    """Whether a term of a sum has its whole last axis."""
    return (term.array.shape if isinstance(term, Known) else term.shape)[-1:] == shape[-1:]


def reshaped(made: Programs, form: Form, shape: Shape) -> Form | None:
    """The form's rows in another shape."""
    target = np.array([-1, *shape])
    match form:
        case One():
            return made.on(form, "Reshape", made.constant(target), shape=shape)
        case Rows(name):
            return made.rows(made.emit("pair", "Reshape", [name, made.constant(target)]), shape)
        case Dot():
            return Dot(form.user, form.item, shape, form.scaled)
        case Product(user, item) if user.shape == item.shape:
            left, right = (made.on(one, "Reshape", made.constant(target), shape=shape) for one in (user, item))
            return Product(left, right, shape)
        case Sum(terms) if all(not isinstance(term, Known) and term.shape == form.shape for term in terms):
            pieces = [reshaped(made, term, shape) for term in terms]
            return (
                None
                if any(piece is None for piece in pieces)
                else Sum(tuple(piece for piece in pieces if piece is not None), shape)
            )
        case Parts(parts) if shape[-1:] == form.shape[-1:]:
            pieces = [reshaped(made, part, (*shape[:-1], part.shape[-1])) for part in parts]
            return None if any(piece is None for piece in pieces) else Parts(tuple(pieces), shape)  # type: ignore[arg-type]
        case _:
            return None


def dot(made: Programs, left: Form, right: Form, shape: Shape) -> Form | None:
    """The dot product of two forms' rows, where they are one side's each."""
    if not (isinstance(left, One) and isinstance(right, One) and left.side != right.side and prod(left.shape) == prod(right.shape)):
        return None
    flat = [
        made.on(one, "Reshape", made.constant(np.array([-1, prod(one.shape)])), shape=(prod(one.shape),)) for one in (left, right)
    ]
    user, item = flat if left.side == USER else flat[::-1]
    return Dot(user, item, shape)


def cut(made: Programs, form: Form, start: int, stop: int) -> Form | None:
    """Columns start … stop - 1 of the last axis of forms side by side."""
    if not isinstance(form, Parts):
        return None
    taken, at = [], 0
    for part in form.parts:
        width = part.shape[-1]
        low, high = max(start - at, 0), min(stop - at, width)
        if low < high:
            piece = _columns(made, part, low, high) if (low, high) != (0, width) else part
            if piece is None:
                return None
            taken.append(piece)
        at += width
    if len(taken) == 1:
        return taken[0]
    return Parts(tuple(taken), (*form.shape[:-1], stop - start))


def _columns(made: Programs, part: One | Rows | Product, low: int, high: int) -> One | Rows | None:
    shape = (*part.shape[:-1], high - low)
    bounds = [made.constant(np.array([number])) for number in (low, high, len(part.shape))]
    match part:
        case One():
            return made.on(part, "Slice", *bounds, shape=shape)
        case Rows(name):
            return made.rows(made.emit("pair", "Slice", [name, *bounds]), shape)
        case _:
            return None
