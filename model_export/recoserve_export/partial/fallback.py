"""The fallback for a graph that can't be split: all of it becomes the pair program, which runs over all items in tiles."""

import numpy as np
import onnx

from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Network
from recoserve_export.partial.builder import ProgramBuilder, live_nodes
from recoserve_export.partial.output_activation import split_tail
from recoserve_export.partial.probe import Probe
from recoserve_export.partial.result import SplitScorer, node_with_subgraph, one_sided_error
from recoserve_export.partial.values import ITEM, PAIR, USER, SideValue

# The row size of a value that grows faster than the number of pairs, such as the matrix of all users by all items of a batch: so
# large that tiles become as small as possible.
UNBOUNDED_ROW = 1 << 30


def fallback(network: Network, probe: Probe, user_input: str) -> SplitScorer:
    """The scorer with all of its nodes in the pair program; only its inputs are values of a side.

    `user_input` is the name of the user's input, every other input is the item's. Raises ExportRefused if the graph has a loop or a
    branch, or if the score doesn't depend on both sides.
    """
    node = node_with_subgraph(network)
    if node is not None:
        raise ExportRefused(
            f"the model's {node.op_type} {node.name or node.output[0]!r} contains a subgraph (a loop or a branch), which the "
            "export can't run for every item: write the scorer without it"
        )
    output, tail = split_tail(network, probe)
    builder, nodes = ProgramBuilder(network.opset, network.constants), live_nodes(network.nodes, [output])
    used_names = {name for node in nodes for name in node.input}
    inputs = [
        SideValue(USER if name == user_input else ITEM, name, graph_input.shape)
        for name, graph_input in network.inputs.items()
        if name in used_names
    ]
    pair_names = {value.name: builder.materialise_rows(value) for value in inputs}
    for node in nodes:
        names = [pair_names.get(name, name) for name in node.input]
        builder.copy(PAIR, node, _with_squeezed_axes(builder, probe, node, names))
    row_sizes = [_row_size(probe, name) for node in nodes for name in node.output if name in probe.with_two_pairs]
    builder.widest_row = max(row_sizes, default=1)
    score = builder.as_float32(output, probe.with_two_pairs[output].dtype)
    sides = builder.sides_of(score)
    if len(sides) < 2:
        raise one_sided_error(sides)
    return SplitScorer(builder, score, tail)


def _with_squeezed_axes(builder: ProgramBuilder, probe: Probe, node: onnx.NodeProto, inputs: list[str]) -> list[str]:
    """The node's inputs; a Squeeze that names no axes gets those that have length 1 both at two and at three pairs.

    Without them it would squeeze the axis of the pairs too if there is a single pair, and every later axis would be off by one.
    """
    if node.op_type != "Squeeze" or any(inputs[1:]):
        return inputs
    shapes = np.array([probe.with_two_pairs[node.input[0]].shape, probe.with_three_pairs[node.input[0]].shape])
    return [inputs[0], builder.constant(np.flatnonzero((shapes == 1).all(axis=0)))]


def _row_size(probe: Probe, name: str) -> int:
    """The number of a value's elements for each pair; UNBOUNDED_ROW if it grows with the number of pairs."""
    size_at_two, size_at_three = probe.with_two_pairs[name].size, probe.with_three_pairs[name].size
    if 2 * size_at_three > 3 * size_at_two:
        return UNBOUNDED_ROW
    return max(size_at_three // 3, 1)
