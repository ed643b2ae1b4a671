"""The output activation: the last operators of a scorer that change no order, so that they can run after the ranking."""

from math import isfinite, prod

import numpy as np
import onnx

from recoserve_export.graph import operators
from recoserve_export.graph.monotone_tail import Tail, TailStep
from recoserve_export.graph.network import Network
from recoserve_export.partial.probe import Probe


def split_tail(network: Network, probe: Probe) -> tuple[str, Tail]:
    """The name of the value before the monotone tail, and the steps of the tail in the order in which they run."""
    producers = {name: node for node in network.nodes for name in node.output}
    name, steps = network.output, list[TailStep]()
    # An increasing function keeps the order of the pairs only if its input is one number for each pair: 2 numbers at two pairs.
    while name in producers and name not in probe.constant_names and prod(probe.with_two_pairs[name].shape) == 2:
        node = producers[name]
        step = _increasing_step(node, probe)
        operator = operators.properties(node.op_type)
        if step is None and not (operator.keeps_numbers and not operator.changes_dtype):
            break
        steps[:0] = [step] if step and not step.is_identity else []
        name = node.input[_variable_input(node, probe)]
    return name, tuple(steps)


def _variable_input(node: onnx.NodeProto, probe: Probe) -> int:
    """The index of the input that isn't constant: the second of `c + x` and `c * x`, the first of everything else in a tail."""
    constant_is_first = _is_binary_affine(node) and node.input[0] in probe.constant_names
    return 1 if constant_is_first else 0


def _is_binary_affine(node: onnx.NodeProto) -> bool:
    """Whether the operator is Add, Sub, Mul or Div."""
    operator = operators.properties(node.op_type)
    return operator.broadcasts and operator.max_inputs == 2 and 0 in operator.affine


def _increasing_step(node: onnx.NodeProto, probe: Probe) -> TailStep | None:
    """The node as a step of a tail; None if it isn't strictly increasing.

    Relu, Clip and others that aren't *strictly* increasing make equal scores of different numbers. Equal scores are ranked by item
    row; if such an operator ran after the top-k, they would be ranked by the numbers before it.
    """
    # Integers overflow, and their division rounds: different scores would become equal.
    if not np.issubdtype(probe.with_two_pairs[node.output[0]].dtype, np.floating):
        return None
    if operators.properties(node.op_type).increasing_function:
        return TailStep(node.op_type)
    constant_indices = [index for index, name in enumerate(node.input) if name in probe.constant_names]
    if not _is_binary_affine(node) or len(constant_indices) != 1:
        return None
    constant = probe.with_two_pairs[node.input[constant_indices[0]]]
    if constant.size != 1:
        return None
    number = float(constant.reshape(-1)[0])
    return _affine_step(node.op_type, number, constant_is_last=constant_indices == [1]) if isfinite(number) else None


def _affine_step(operator: str, number: float, constant_is_last: bool) -> TailStep | None:
    """`x + number`, `x - number`, `x * number` or `x / number` as a step; None if it reverses the order or makes ties."""
    match operator:
        case "Add":
            return TailStep("Add", number)
        case "Mul":
            factor = number
        case "Sub" if constant_is_last:
            return TailStep("Add", -number)
        case "Div" if constant_is_last and number:
            factor = 1 / number
        case _:
            return None
    # A negative factor reverses the order; an infinite one, of a tiny divisor, makes all positive scores equal.
    return TailStep("Mul", factor) if factor > 0 and isfinite(factor) else None
