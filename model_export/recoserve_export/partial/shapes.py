"""Forms whose numbers stay what they are and stand elsewhere: reshaped, side by side, cut. None where a form doesn't allow it."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve_export.partial.values import Dot, Form, Known, One, Part, Parts, Product, Programs, Rows, Shape, Sum


def as_part(made: Programs, form: Form) -> Part:
    """The form as it may stand beside others."""
    if isinstance(form, One | Rows | Product):
        return form
    name = made.full(form)
    return made.rows(name, form.array.shape[1:] if isinstance(form, Known) else form.shape)


def flat(made: Programs, one: One) -> One:
    """One side's rows with a single axis."""
    size = prod(one.shape)
    return one if one.shape == (size,) else made.on(one, "Reshape", made.constant(np.array([-1, size])), shape=(size,))


def pieces_of(form: Parts, constant: NDArray[Any]) -> list[NDArray[Any]] | None:
    """A constant that meets forms side by side, as it meets each of them; None where it is wider than they are."""
    if np.broadcast_shapes(form.shape, constant.shape) != form.shape:
        return None
    if constant.ndim < -form.axis or constant.shape[form.axis] == 1:
        return [constant] * len(form.parts)
    stops = np.cumsum([part.shape[form.axis] for part in form.parts])[:-1]
    return list(np.split(constant, stops, form.axis))


def reshaped(made: Programs, form: Form, shape: Shape) -> Form | None:
    """The form's rows in another shape."""
    target = np.array([-1, *shape])
    match form:
        case One():
            return made.on(form, "Reshape", made.constant(target), shape=shape)
        case Rows(name, before):
            return form if before == shape else made.rows(made.emit("pair", "Reshape", [name, made.constant(target)]), shape)
        case Dot():
            return Dot(form.user, form.item, shape, form.scaled)
        case Product(user, item):
            left, right = (made.on(one, "Reshape", made.constant(target), shape=shape) for one in (user, item))
            return Product(left, right, shape, form.scaled)
        case Sum(terms, before) if all(isinstance(term, Known) or prod(term.shape) == prod(before) for term in terms):
            pieces = [_known_reshaped(term, before, shape) or reshaped(made, term, shape) for term in terms]
            return None if None in pieces else Sum(tuple(piece for piece in pieces if piece is not None), shape)
        case Parts(parts):
            placed = _parts_placed(form, shape)
            if placed is None:
                return None
            axis, shapes = placed
            pieces = [reshaped(made, part, size) for part, size in zip(parts, shapes, strict=True)]
            return Parts(tuple(as_part(made, piece) for piece in pieces if piece is not None), shape, axis)
        case _:
            return None


def _known_reshaped(term: Form, before: Shape, shape: Shape) -> Known | None:
    return Known(np.broadcast_to(term.row(len(before)), before).reshape(shape)) if isinstance(term, Known) else None


def _parts_placed(form: Parts, shape: Shape) -> tuple[int, list[Shape]] | None:
    """The axis along which reshaped parts stand side by side again, and the shape of each; None where their numbers mix."""
    if form.axis == -1 and shape[-1:] == form.shape[-1:]:
        return -1, [(*shape[:-1], part.shape[-1]) for part in form.parts]
    first = next((at for at, size in enumerate(shape) if size > 1), len(shape) - 1)
    inner = max(prod(shape[first + 1 :]), 1)
    sizes = [prod(part.shape) for part in form.parts]
    if prod(form.shape[: form.axis]) != 1 or not shape or any(size % inner for size in sizes):
        return None
    return first - len(shape), [(*shape[:first], size // inner, *shape[first + 1 :]) for size in sizes]


def cut(made: Programs, form: Parts, start: int, stop: int) -> Form:
    """Places start … stop - 1 of the axis along which forms stand side by side."""
    taken, at = list[Part](), 0
    for part in form.parts:
        width = part.shape[form.axis]
        low, high = max(start - at, 0), min(stop - at, width)
        if low < high:
            taken.append(_slice(made, part, form.axis, low, high) if (low, high) != (0, width) else part)
        at += width
    if len(taken) == 1:
        return taken[0]
    return Parts(tuple(taken), _resized(form.shape, form.axis, stop - start), form.axis)


def _slice(made: Programs, part: Part, axis: int, low: int, high: int) -> Part:
    shape = _resized(part.shape, axis, high - low)
    bounds = [made.constant(np.array([number])) for number in (low, high, axis)]
    match part:
        case One():
            return made.on(part, "Slice", *bounds, shape=shape)
        case Product(user, item):
            left, right = (made.on(one, "Slice", *bounds, shape=shape) for one in (user, item))
            return Product(left, right, shape, part.scaled)
        case Rows(name):
            return made.rows(made.emit("pair", "Slice", [name, *bounds]), shape)


def _resized(shape: Shape, axis: int, size: int) -> Shape:
    return tuple(size if at - len(shape) == axis else each for at, each in enumerate(shape))
