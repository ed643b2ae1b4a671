"""Read a graph from its inputs to its score, and keep its two sides apart for as long as the rules allow."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx

from model_export import tail
from model_export.network import Network
from model_export.partial.forms import ITEM, PAIR, USER, Dot, Form, Known, One, Product, Programs, Sizes, Sum, Value
from model_export.partial.probe import Probe
from model_export.partial.rules import RULES, Step

ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mean", "Sum", "Where", "PRelu", "Mod", "And", "Or", "Xor"}
ELEMENTWISE |= {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}
SHAPE_ONLY = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout"}
TAKES_SHAPE = {"Reshape": -1, "Expand": 1}  # what stands for the number of pairs in the shape that is taken


class NotApart(Exception):
    """The graph can't be read this way; the model still scores pairs as it is. The message says what stands in the way."""


@dataclass(frozen=True)
class Vectors:
    """One dot product: the pieces of both sides' vectors, values of their programs; None for a 1 that meets the other's piece.

    `plain` tells that they are the model's own two vectors, with no weight or bias absorbed.
    """

    pieces: tuple[tuple[str | None, str | None], ...]
    plain: bool


@dataclass(frozen=True)
class Evaluated:
    """The programs of both sides and of pairs; `score` is a pair's number in front of `tail`: a value, or a dot product."""

    programs: Programs
    score: str | Vectors
    tail: tail.Tail


def evaluate(network: Network, probe: Probe, user: str) -> Evaluated:
    """Take the scorer apart; every input but `user` is the item's. Raises NotApart."""
    for node in network.nodes:
        if any(each.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for each in node.attribute):
            raise NotApart(f"{node.op_type} has a graph of its own")
    output, steps = _peel(network, probe)
    programs = Programs(network.opset, network.constants)
    forms: dict[str, Value] = {name: Known(array) for name, array in network.constants.items()}
    for name, each in network.inputs.items():
        forms[name] = One(USER if name == user else ITEM, name, each.shape)
    for node in network.nodes:
        forms.update(_read(programs, probe, node, forms))
        if output in node.output:
            break
    form = forms[output]
    if isinstance(form, Sizes):
        raise NotApart("the score is the number of pairs")
    score, shift = _score(programs, form)
    return Evaluated(programs, score, (*shift, *steps))


def _read(programs: Programs, probe: Probe, node: onnx.NodeProto, forms: Mapping[str, Value]) -> Mapping[str, Value]:
    """The forms of one node's outputs."""
    values = [forms[name] if name else None for name in node.input]
    kinds = {type(form) for form in values if form is not None}
    outputs = [name for name in node.output if name]
    of_type = node.op_type in ("Shape", "Size") or (node.op_type == "CastLike" and isinstance(values[0], Known))
    if of_type or kinds <= {Known, Sizes}:
        return {name: _fixed(probe, node, name) for name in outputs}
    if node.op_type not in ELEMENTWISE and any(isinstance(form, Known) and form.spread for form in values):
        raise NotApart(f"{node.op_type} needs a constant row for every pair")
    given = tuple(_static(node, place, form) for place, form in enumerate(values))
    shapes = {name: _row_shape(probe, node, name) for name in outputs}
    sides = {form.side for form in given if isinstance(form, One)}
    if kinds <= {Known, Sizes, One} and len(sides) == 1:
        (side,) = sides
        programs.keep(side, node, [_one_name(programs, form) for form in given])
        return {name: One(side, name, shape) for name, shape in shapes.items()}
    first = outputs[0]
    step = Step(programs, node, given, shapes[first], np.issubdtype(probe.two[first].dtype, np.floating))
    found = RULES[node.op_type](step) if node.op_type in RULES else None
    if found is None:
        return _unchanged(programs, node, given, shapes)
    return dict(zip(outputs, found if isinstance(found, list) else [found], strict=False))


def _fixed(probe: Probe, node: onnx.NodeProto, name: str) -> Value:
    """What no id reaches: a constant, a shape, or one row repeated for every pair. Raises NotApart for anything else."""
    two, three = probe.two[name], probe.three[name]
    if two.shape == three.shape:
        return Known(two) if np.array_equal(two, three) else Sizes(two, three)
    if probe.row_shape(name) is None or not (three == two[:1]).all():
        raise NotApart(f"{node.op_type} counts the pairs")
    return Known(two[:1], spread=True)


def _static(node: onnx.NodeProto, place: int, form: Value | None) -> Form | None:
    """A shape that names the number of pairs, so that it holds for any number; raises NotApart where there is no such."""
    if not isinstance(form, Sizes):
        return form
    if place != 1 or node.op_type not in TAKES_SHAPE:
        raise NotApart(f"{node.op_type} takes the number of pairs for a number")
    found = form.static(TAKES_SHAPE[node.op_type])
    if found is None:
        raise NotApart(f"{node.op_type} moves the axis of pairs")
    return Known(found)


def _row_shape(probe: Probe, node: onnx.NodeProto, name: str) -> tuple[int, ...]:
    shape = probe.row_shape(name)
    if shape is None:
        raise NotApart(f"{node.op_type} gives {list(probe.two[name].shape)} for 2 pairs and {list(probe.three[name].shape)} for 3")
    return shape


def _one_name(programs: Programs, form: Form | None) -> str:
    if form is None:
        return ""
    return form.name if isinstance(form, One) else programs.force(form)


def _unchanged(
    programs: Programs, node: onnx.NodeProto, forms: tuple[Form | None, ...], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Form]:
    """The operator as it stands, for every pair."""
    bring = (
        programs.force if node.op_type in ELEMENTWISE or len([f for f in forms if not isinstance(f, Known)]) == 1 else programs.full
    )
    programs.keep(PAIR, node, [bring(form) if form is not None else "" for form in forms])
    return {name: programs.rows(name, shape) for name, shape in shapes.items()}


def _peel(network: Network, probe: Probe) -> tuple[str, list[tail.Step]]:
    """Walk back over what can change no order: the value in front of it, and the steps, first to last."""
    makers = {name: node for node in network.nodes for name in node.output}
    name, steps = network.output, list[tail.Step]()
    while name in makers and prod(probe.two[name].shape) == 2:
        node = makers[name]
        step = _increasing(node, probe)
        if step is None and node.op_type not in SHAPE_ONLY:
            break
        steps[:0] = [step] if step else []
        name = node.input[_moving(node, probe)]
    return name, steps


def _moving(node: onnx.NodeProto, probe: Probe) -> int:
    """The place of the input that an operator on numbers works on."""
    return 1 if node.op_type in ("Add", "Mul") and node.input[0] in probe.fixed else 0


def _increasing(node: onnx.NodeProto, probe: Probe) -> tail.Step | None:
    """The step that a strictly increasing operator on numbers is."""
    if node.op_type in tail.FUNCTIONS:
        return tail.Step(node.op_type)
    fixed = [name for name in node.input if name in probe.fixed and probe.two[name].size == 1]
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(fixed) != 1:
        return None
    number, last = float(probe.two[fixed[0]].reshape(-1)[0]), node.input[1] == fixed[0]
    if node.op_type in ("Add", "Sub"):
        return tail.Step("Add", number if node.op_type == "Add" else -number) if last or node.op_type == "Add" else None
    if number <= 0 or not (last or node.op_type == "Mul"):
        return None
    return tail.Step("Mul", number if node.op_type == "Mul" else 1 / number)


def _score(programs: Programs, form: Form) -> tuple[str | Vectors, tail.Tail]:
    """The number in front of the tail: one dot product where everything in it is one, or a value of pairs; and a constant step."""
    terms = form.terms if isinstance(form, Sum) else (form,)
    constants = [float(term.array.reshape(-1)[0]) for term in terms if isinstance(term, Known)]
    shift = (tail.Step("Add", sum(constants)),) if constants else ()
    terms = tuple(term for term in terms if not isinstance(term, Known))
    pieces = [_piece(term) for term in terms]
    if None not in pieces:
        plain = len(terms) == 1 and isinstance(terms[0], Dot) and not terms[0].scaled
        return Vectors(tuple(piece for piece in pieces if piece is not None), plain), shift
    left = terms[0] if len(terms) == 1 else Sum(terms, form.shape)  # type: ignore[union-attr]  # a known score has no form
    return programs.force(left), shift


def _piece(term: Form) -> tuple[str | None, str | None] | None:
    match term:
        case Dot(user, item) | Product(user, item):
            return user.name, item.name
        case One(side, name):
            return (name, None) if side == USER else (None, name)
        case _:
            return None
