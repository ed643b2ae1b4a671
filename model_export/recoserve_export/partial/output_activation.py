"""The last operators of a scorer, as far as they can change no order: what may stand behind the ranking."""

from math import isfinite, prod

import numpy as np
import onnx

from recoserve_export.graph import monotone_tail
from recoserve_export.graph.network import Network
from recoserve_export.partial.probe import Probe

SHAPE_ONLY = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"}


def peel(network: Network, probe: Probe) -> tuple[str, monotone_tail.Tail]:
    """Walk back from the score: the value in front of its ending, and the ending's steps, first to last."""
    makers = {name: node for node in network.nodes for name in node.output}
    name, steps = network.output, list[monotone_tail.Step]()
    while name in makers and name not in probe.fixed and prod(probe.two[name].shape) == 2:
        node = makers[name]
        step = _increasing(node, probe)
        if step is None and node.op_type not in SHAPE_ONLY:
            break
        steps[:0] = [step] if step and not step.idle else []
        name = node.input[_moving(node, probe)]
    return name, tuple(steps)


def _moving(node: onnx.NodeProto, probe: Probe) -> int:
    """The place of the input that an operator on numbers works on."""
    return 1 if node.op_type in ("Add", "Mul") and node.input[0] in probe.fixed else 0


def _increasing(node: onnx.NodeProto, probe: Probe) -> monotone_tail.Step | None:
    """The step that a strictly increasing operator on floats is."""
    if not np.issubdtype(probe.two[node.output[0]].dtype, np.floating):
        return None
    if node.op_type in monotone_tail.FUNCTIONS:
        return monotone_tail.Step(node.op_type)
    fixed = [place for place, name in enumerate(node.input) if name in probe.fixed]
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(fixed) != 1 or probe.two[node.input[fixed[0]]].size != 1:
        return None
    return _affine(node.op_type, float(probe.two[node.input[fixed[0]]].reshape(-1)[0]), last=fixed == [1])


def _affine(operator: str, number: float, last: bool) -> monotone_tail.Step | None:
    """`x + number` and the like, where the constant stands `last`, or where its place makes no difference."""
    if not isfinite(number) or not (last or operator in ("Add", "Mul")):
        return None
    if operator in ("Add", "Sub"):
        return monotone_tail.Step("Add", number if operator == "Add" else -number)
    factor = number if operator == "Mul" else 1 / number if number else 0.0
    return monotone_tail.Step("Mul", factor) if factor > 0 and isfinite(factor) else None
