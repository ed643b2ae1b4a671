"""The way out for a graph that can't be taken apart: all of it runs for every pair, over pieces of the catalogue."""

import numpy as np
import onnx

from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Network
from recoserve_export.partial.output_activation import peel
from recoserve_export.partial.probe import Probe
from recoserve_export.partial.result import Evaluated, graph_holder, refuse_one_sided
from recoserve_export.partial.values import ITEM, PAIR, USER, One, Programs, needed

FAR_TOO_WIDE = 1 << 30  # numbers of one pair, where their count grows with the pairs: the catalogue is taken in the smallest pieces


def whole(network: Network, probe: Probe, user: str) -> Evaluated:
    """The scorer as it stands, of which no more than the inputs is a side's; raises ExportRefused where it loops or branches."""
    holder = graph_holder(network)
    if holder is not None:
        raise ExportRefused(
            f"the model's {holder.op_type} {holder.name or holder.output[0]!r} has a graph of its own (a loop or a branch), which "
            "can't be ranked with: write the scorer without one"
        )
    output, steps = peel(network, probe)
    programs, nodes = Programs(network.opset, network.constants), needed(network.nodes, [output])
    used = {name for node in nodes for name in node.input}
    ones = [One(USER if name == user else ITEM, name, each.shape) for name, each in network.inputs.items() if name in used]
    names = {one.name: programs.full(one) for one in ones}
    for node in nodes:
        inputs = [names.get(name, name) for name in node.input]
        programs.keep(PAIR, *_told(programs, probe, node, inputs))
    programs.widest = max(
        (_numbers_of_a_pair(probe, name) for node in nodes for name in node.output if name in probe.two), default=1
    )
    score = programs.float32(output, probe.two[output].dtype)
    refuse_one_sided(programs.sides(score))
    return Evaluated(programs, score, steps)


def _told(programs: Programs, probe: Probe, node: onnx.NodeProto, inputs: list[str]) -> tuple[onnx.NodeProto, list[str]]:
    """A Squeeze of whatever is 1 squeezes the axes that are 1 at any number of pairs; every other node stays as it is."""
    if node.op_type != "Squeeze" or any(inputs[1:]):
        return node, inputs
    shapes = np.array([probe.two[node.input[0]].shape, probe.three[node.input[0]].shape])
    return node, [inputs[0], programs.constant(np.flatnonzero((shapes == 1).all(axis=0)))]


def _numbers_of_a_pair(probe: Probe, name: str) -> int:
    two, three = probe.two[name].size, probe.three[name].size
    if three * 2 > two * 3:
        return FAR_TOO_WIDE
    return max(three // 3, 1)
