"""Read a graph from its inputs to its score, and keep its two sides apart for as long as the rules allow."""

from collections.abc import Mapping

import numpy as np
import onnx

from recoserve_export.graph import monotone_tail
from recoserve_export.graph.network import Network
from recoserve_export.partial.output_activation import peel
from recoserve_export.partial.probe import Probe
from recoserve_export.partial.result import Evaluated, NotApart, Vectors, graph_holder, refuse_one_sided
from recoserve_export.partial.rules import RESHAPES, RULES, Step
from recoserve_export.partial.shapes import reshaped
from recoserve_export.partial.values import ITEM, PAIR, USER, Dot, Form, Known, One, Product, Programs, Sizes, Sum, Value, needed

ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mean", "Sum", "Where", "Mod", "And", "Or", "Xor"}
ELEMENTWISE |= {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}
TAKES_SHAPE = {"Reshape": -1, "Expand": 1}  # what stands for the number of pairs in the shape that is taken


def evaluate(network: Network, probe: Probe, user: str) -> Evaluated:
    """Take the scorer apart; every input but `user` is the item's.

    Raises NotApart where that can't be, and ExportRefused where the score doesn't depend on both sides.
    """
    holder = graph_holder(network)
    if holder is not None:
        raise NotApart(f"{holder.op_type} has a graph of its own")
    output, steps = peel(network, probe)
    programs = Programs(network.opset, network.constants)
    forms: dict[str, Value] = {name: Known(array) for name, array in network.constants.items()}
    for name, each in network.inputs.items():
        forms[name] = One(USER if name == user else ITEM, name, each.shape)
    for node in needed(network.nodes, [output]):
        forms.update(_read(programs, probe, node, forms))
    form = forms[output]
    if isinstance(form, Sizes):
        raise NotApart("the score is the number of pairs")
    if isinstance(form, Known | One):
        refuse_one_sided({form.side} if isinstance(form, One) else ())
    score, shift = _score(programs, form, probe.two[output].dtype)
    return Evaluated(programs, score, (*shift, *steps))


def _read(programs: Programs, probe: Probe, node: onnx.NodeProto, forms: Mapping[str, Value]) -> Mapping[str, Value]:
    """The forms of one node's outputs."""
    values = [forms[name] if name else None for name in node.input]
    kinds = {type(form) for form in values if form is not None}
    outputs = [name for name in node.output if name]
    if not probe.two.keys() >= set(outputs):
        raise NotApart(f"{node.op_type} gives no array")
    of_type = node.op_type in ("Shape", "Size") or (node.op_type == "CastLike" and isinstance(values[0], Known))
    if of_type or kinds <= {Known, Sizes}:
        return {name: _fixed(probe, node, name) for name in outputs}
    shapes = {name: _row_shape(probe, node, name) for name in outputs}
    given = tuple(_static(node, place, form, shapes[outputs[0]]) for place, form in enumerate(values))
    spread = any(isinstance(form, Known) and form.spread for form in given)
    if spread and node.op_type not in ELEMENTWISE | {"Concat"}:
        raise NotApart(f"{node.op_type} needs a constant row for every pair")
    if kinds <= {Known, Sizes, One} and not (spread and node.op_type == "Concat"):
        sides = {form.side for form in given if isinstance(form, One)}
        if len(sides) == 1:
            return _one_sided(programs, node, given, sides.pop(), shapes)
    return _met(Step(programs, node, given, shapes[outputs[0]], probe.two[outputs[0]].dtype), shapes)


def _one_sided(
    programs: Programs, node: onnx.NodeProto, given: tuple[Form | None, ...], side: str, shapes: Mapping[str, tuple[int, ...]]
) -> Mapping[str, Value]:
    """An operator of one side's program; what changes a shape alone is told for any number of rows."""
    (first, *_) = given
    if node.op_type in RESHAPES and isinstance(first, One):
        return {name: reshaped(programs, first, shape) or first for name, shape in shapes.items()}
    names = [form.name if isinstance(form, One) else programs.force(form) if form is not None else "" for form in given]
    programs.keep(side, node, names)
    return {name: One(side, name, shape) for name, shape in shapes.items()}


def _met(step: Step, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Value]:
    """An operator on forms in which both sides meet: by its rule, or else as it stands, for every pair."""
    found = RULES[step.node.op_type](step) if step.node.op_type in RULES else None
    if isinstance(found, list):
        return dict(zip(step.node.output, found, strict=True))
    if found is not None and len(step.node.output) == 1:
        return {step.node.output[0]: found}
    made, forms = step.made, [form for form in step.forms if not isinstance(form, Known | None)]
    bring = made.force if step.node.op_type in ELEMENTWISE or len(forms) == 1 else made.full
    made.keep(PAIR, step.node, [bring(form) if form is not None else "" for form in step.forms])
    return {name: made.rows(name, shape) for name, shape in shapes.items()}


def _fixed(probe: Probe, node: onnx.NodeProto, name: str) -> Value:
    """What no id reaches: a constant, a shape, or one row repeated for every pair. Raises NotApart for anything else."""
    two, three = probe.two[name], probe.three[name]
    if two.shape == three.shape:
        return Known(two) if np.array_equal(two, three) else Sizes()
    if probe.row_shape(name) is None or not (three == two[:1]).all():
        raise NotApart(f"{node.op_type} counts the pairs")
    return Known(two[:1], spread=True)


def _static(node: onnx.NodeProto, place: int, form: Value | None, shape: tuple[int, ...]) -> Form | None:
    """A shape that names the number of pairs, so that it holds for any number; raises NotApart for any other such integers."""
    if not isinstance(form, Sizes):
        return form
    if place != 1 or node.op_type not in TAKES_SHAPE:
        raise NotApart(f"{node.op_type} takes the number of pairs for a number")
    return Known(np.array([TAKES_SHAPE[node.op_type], *shape], np.int64))


def _row_shape(probe: Probe, node: onnx.NodeProto, name: str) -> tuple[int, ...]:
    shape = probe.row_shape(name)
    if shape is None:
        raise NotApart(f"{node.op_type} gives {list(probe.two[name].shape)} for 2 pairs and {list(probe.three[name].shape)} for 3")
    return shape


def _score(programs: Programs, form: Form, dtype: np.dtype[np.generic]) -> tuple[str | Vectors, monotone_tail.Tail]:
    """The number in front of the tail: one dot product where everything in it is one, or a value of pairs; and a constant step."""
    terms = form.terms if isinstance(form, Sum) else (form,)
    step = monotone_tail.Step("Add", sum(float(term.array.reshape(-1)[0]) for term in terms if isinstance(term, Known)))
    shift = () if step.idle else (step,)
    terms = tuple(term for term in terms if not isinstance(term, Known))
    pieces = [_piece(term) for term in terms]
    if None not in pieces:
        plain = len(terms) == 1 and isinstance(terms[0], Dot | Product) and not terms[0].scaled
        return Vectors(tuple(piece for piece in pieces if piece is not None), plain), shift
    left = terms[0] if len(terms) == 1 else Sum(terms, form.shape)  # type: ignore[union-attr]  # a known score has no form
    score = programs.float32(programs.score(left), dtype)
    refuse_one_sided(programs.sides(score))
    return score, shift


def _piece(term: Form) -> tuple[str | None, str | None] | None:
    match term:
        case Dot(user, item) | Product(user, item):
            return user.name, item.name
        case One(side, name):
            return (name, None) if side == USER else (None, name)
        case _:
            return None
