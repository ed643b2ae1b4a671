"""The fallback for a graph that can't be split: all of it becomes the pair program, which runs over the catalogue in pieces."""

import numpy as np
import onnx

from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Network
from recoserve_export.partial.builder import ProgramBuilder, live_nodes
from recoserve_export.partial.output_activation import split_tail
from recoserve_export.partial.probe import Probe
from recoserve_export.partial.result import SplitScorer, node_with_subgraph, refuse_one_sided
from recoserve_export.partial.values import ITEM, PAIR, USER, SideValue

# The width of a value that grows faster than the number of pairs, such as all users by all items of a batch: so large that the
# pieces of the catalogue become as small as they get.
UNBOUNDED_ROW = 1 << 30


def fallback(network: Network, probe: Probe, user: str) -> SplitScorer:
    """The scorer with all of its nodes in the pair program; only its inputs are values of a side.

    Raises ExportRefused if it loops or branches, or if the score doesn't depend on both sides.
    """
    node = node_with_subgraph(network)
    if node is not None:
        raise ExportRefused(
            f"the model's {node.op_type} {node.name or node.output[0]!r} has a graph of its own (a loop or a branch), which "
            "can't be ranked with: write the scorer without one"
        )
    output, tail = split_tail(network, probe)
    builder, nodes = ProgramBuilder(network.opset, network.constants), live_nodes(network.nodes, [output])
    read_names = {name for node in nodes for name in node.input}
    inputs = [
        SideValue(USER if name == user else ITEM, name, graph_input.shape)
        for name, graph_input in network.inputs.items()
        if name in read_names
    ]
    pair_names = {value.name: builder.materialise_rows(value) for value in inputs}
    for node in nodes:
        names = [pair_names.get(name, name) for name in node.input]
        builder.copy(PAIR, node, _with_squeezed_axes(builder, probe, node, names))
    widths = [_row_width(probe, name) for node in nodes for name in node.output if name in probe.two]
    builder.widest_row = max(widths, default=1)
    score = builder.as_float32(output, probe.two[output].dtype)
    refuse_one_sided(builder.sides_of(score))
    return SplitScorer(builder, score, tail)


def _with_squeezed_axes(builder: ProgramBuilder, probe: Probe, node: onnx.NodeProto, inputs: list[str]) -> list[str]:
    """The node's inputs; for a Squeeze that names no axes, with those that have one position at 2 and at 3 pairs.

    Without them it would squeeze the axis of the pairs too when there is a single pair, and every later axis would be off by one.
    """
    if node.op_type != "Squeeze" or any(inputs[1:]):
        return inputs
    shapes = np.array([probe.two[node.input[0]].shape, probe.three[node.input[0]].shape])
    return [inputs[0], builder.constant(np.flatnonzero((shapes == 1).all(axis=0)))]


def _row_width(probe: Probe, name: str) -> int:
    """How many numbers of a value there are for each pair."""
    two, three = probe.two[name].size, probe.three[name].size
    if three * 2 > two * 3:
        return UNBOUNDED_ROW
    return max(three // 3, 1)
