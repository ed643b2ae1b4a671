"""Item-side partial evaluation: a scorer's graph is read once, node by node, into a user, an item and a pair program.

The abstract values of a node's inputs are known, and decide those of its outputs. A node whose inputs are constants or values of
one side goes to that side's program as it stands. A node that joins both sides is rewritten by its operator's rule if that can keep
them apart, and goes to the pair program if not.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from recoserve_export.graph import operators
from recoserve_export.graph.monotone_tail import Tail, TailStep
from recoserve_export.graph.network import Network
from recoserve_export.partial.builder import ProgramBuilder, live_nodes
from recoserve_export.partial.output_activation import split_tail
from recoserve_export.partial.probe import Probe
from recoserve_export.partial.result import DotProductScore, NotSeparable, SplitScorer, node_with_subgraph, refuse_one_sided
from recoserve_export.partial.rules import RULES, OperatorCall
from recoserve_export.partial.shapes import reshape
from recoserve_export.partial.values import (
    ITEM,
    PAIR,
    USER,
    BatchShape,
    Constant,
    DotProduct,
    ElementwiseProduct,
    LinearCombination,
    RowShape,
    SideValue,
    Value,
)

AnyValue = Value | BatchShape


def evaluate(network: Network, probe: Probe, user: str) -> SplitScorer:
    """Split the scorer into its programs; input `user` is the user's, every other input is the item's.

    Raises NotSeparable if the graph can't be split, and ExportRefused if the score doesn't depend on both sides.
    """
    node = node_with_subgraph(network)
    if node is not None:
        raise NotSeparable(f"{node.op_type} has a graph of its own")
    output, tail = split_tail(network, probe)
    builder = ProgramBuilder(network.opset, network.constants)
    values: dict[str, AnyValue] = {name: Constant(array) for name, array in network.constants.items()}
    for name, graph_input in network.inputs.items():
        values[name] = SideValue(USER if name == user else ITEM, name, graph_input.shape)
    for node in live_nodes(network.nodes, [output]):
        values.update(_evaluate_node(builder, probe, node, values))
    score = values[output]
    if isinstance(score, BatchShape):
        raise NotSeparable("the score is the number of pairs")
    if isinstance(score, Constant | SideValue):
        refuse_one_sided({score.side} if isinstance(score, SideValue) else ())
    split_score, shift = _split_score(builder, score, probe.two[output].dtype)
    return SplitScorer(builder, split_score, (*shift, *tail))


def _evaluate_node(
    builder: ProgramBuilder, probe: Probe, node: onnx.NodeProto, values: Mapping[str, AnyValue]
) -> Mapping[str, AnyValue]:
    """The values of the node's outputs, by name."""
    inputs = [values[name] if name else None for name in node.input]
    kinds = {type(value) for value in inputs if value is not None}
    outputs = [name for name in node.output if name]
    if not probe.two.keys() >= set(outputs):
        raise NotSeparable(f"{node.op_type} gives no array")
    # A Shape of a per-user value is no per-user value: it depends on how many rows there are, and not on what they hold.
    content = inputs[: operators.properties(node.op_type).content_inputs]
    if all(isinstance(value, Constant) for value in content) or kinds <= {Constant, BatchShape}:
        return {name: _evaluate_constant(probe, node, name) for name in outputs}
    row_shapes = {name: _row_shape(probe, node, name) for name in outputs}
    row_inputs = tuple(_fit_any_batch(node, index, value, row_shapes[outputs[0]]) for index, value in enumerate(inputs))
    has_repeated = any(isinstance(value, Constant) and value.repeated for value in row_inputs)
    is_concat = node.op_type == "Concat"
    # The one row of a repeated constant broadcasts, or is repeated for a Concat; any other operator would see a batch of one.
    if has_repeated and not operators.properties(node.op_type).broadcasts and not is_concat:
        raise NotSeparable(f"{node.op_type} needs a constant row for every pair")
    sides = {value.side for value in row_inputs if isinstance(value, SideValue)}
    if kinds <= {Constant, BatchShape, SideValue} and len(sides) == 1 and not (has_repeated and is_concat):
        return _evaluate_one_sided(builder, node, row_inputs, sides.pop(), row_shapes)
    dtype = probe.two[outputs[0]].dtype
    return _evaluate_joining(OperatorCall(builder, node, row_inputs, row_shapes[outputs[0]], dtype), row_shapes)


def _evaluate_one_sided(
    builder: ProgramBuilder,
    node: onnx.NodeProto,
    inputs: Sequence[Value | None],
    side: str,
    row_shapes: Mapping[str, RowShape],
) -> Mapping[str, AnyValue]:
    """The outputs of a node that goes to the program of one side."""
    first = inputs[0]
    # A reshape is written anew for any number of rows: a Squeeze that names no axes would also squeeze the rows where there is one.
    if node.op_type in operators.RESHAPES and isinstance(first, SideValue):
        return {name: reshape(builder, first, row_shape) or first for name, row_shape in row_shapes.items()}
    names = [
        value.name if isinstance(value, SideValue) else builder.materialise(value) if value is not None else "" for value in inputs
    ]
    builder.copy(side, node, names)
    return {name: SideValue(side, name, row_shape) for name, row_shape in row_shapes.items()}


def _evaluate_joining(call: OperatorCall, row_shapes: Mapping[str, RowShape]) -> Mapping[str, AnyValue]:
    """The outputs of a node on which both sides have an influence: by its rule, or else computed for every pair."""
    node, builder = call.node, call.builder
    rewritten = RULES[node.op_type](call) if node.op_type in RULES else None  # nodes of a rule that gave up are dead code
    if isinstance(rewritten, list):
        return dict(zip(node.output, rewritten, strict=True))
    # A rule for one output knows nothing of a second one, such as the mask of Dropout or the statistics of BatchNormalization.
    if rewritten is not None and len(node.output) == 1:
        return {node.output[0]: rewritten}
    variable = [value for value in call.inputs if not isinstance(value, Constant | None)]
    # A per-user value has one row in the pair program, which broadcasts over the pairs. An operator that doesn't broadcast needs a
    # row for every pair, unless no other input has more than one.
    may_broadcast = operators.properties(node.op_type).broadcasts or len(variable) == 1
    materialise = builder.materialise if may_broadcast else builder.materialise_rows
    builder.copy(PAIR, node, [materialise(value) if value is not None else "" for value in call.inputs])
    return {name: builder.pair_value(name, row_shape) for name, row_shape in row_shapes.items()}


def _evaluate_constant(probe: Probe, node: onnx.NodeProto, name: str) -> AnyValue:
    """An output that depends on no id: a constant, a shape, or one row repeated for every pair. Raises NotSeparable otherwise."""
    two, three = probe.two[name], probe.three[name]
    if two.shape == three.shape:
        return Constant(two) if np.array_equal(two, three) else BatchShape()
    # Rows that differ without depending on an id, as those of Range, number the pairs.
    if probe.row_shape(name) is None or not (three == two[:1]).all():
        raise NotSeparable(f"{node.op_type} counts the pairs")
    return Constant(two[:1], repeated=True)


def _fit_any_batch(node: onnx.NodeProto, index: int, value: AnyValue | None, row_shape: RowShape) -> Value | None:
    """The input; or, if it is a shape that holds the number of pairs, one that fits any number of them.

    Raises NotSeparable for any other integers that depend on the number of pairs: the programs run for other numbers of rows, where
    they would be wrong.
    """
    if not isinstance(value, BatchShape):
        return value
    placeholder = operators.properties(node.op_type).batch_placeholder
    if index != 1 or placeholder is None:
        raise NotSeparable(f"{node.op_type} takes the number of pairs for a number")
    return Constant(np.array([placeholder, *row_shape], np.int64))


def _row_shape(probe: Probe, node: onnx.NodeProto, name: str) -> RowShape:
    row_shape = probe.row_shape(name)
    if row_shape is None:
        two, three = list(probe.two[name].shape), list(probe.three[name].shape)
        raise NotSeparable(f"{node.op_type} gives {two} for 2 pairs and {three} for 3")
    return row_shape


def _split_score(builder: ProgramBuilder, value: Value, dtype: np.dtype[np.generic]) -> tuple[str | DotProductScore, Tail]:
    """The score before the tail: a dot product if every term of it is one, or a value of the pair program; and a constant's step.

    The constant is taken out because adding it changes no order, and would cost a dimension of every vector.
    """
    terms = value.terms if isinstance(value, LinearCombination) else (value,)
    step = TailStep("Add", sum(float(term.array.reshape(-1)[0]) for term in terms if isinstance(term, Constant)))
    shift = () if step.is_identity else (step,)
    variable = tuple(term for term in terms if not isinstance(term, Constant))
    factors = [_factors(term) for term in variable]
    if None not in factors:
        # Vectors that were joined from several terms, or weighted, aren't the model's own embeddings.
        plain = len(variable) == 1 and isinstance(variable[0], DotProduct | ElementwiseProduct) and not variable[0].weighted
        return DotProductScore(tuple(pair for pair in factors if pair is not None), plain), shift
    remainder = variable[0] if len(variable) == 1 else LinearCombination(variable, value.row_shape)  # type: ignore[union-attr]  # never a Constant
    score = builder.as_float32(builder.materialise_score(remainder), dtype)
    refuse_one_sided(builder.sides_of(score))
    return score, shift


def _factors(term: Value) -> tuple[str | None, str | None] | None:
    """The user's and the item's factor of a term, where None stands for 1; None if the term is no product of both."""
    match term:
        case DotProduct(user, item) | ElementwiseProduct(user, item):
            return user.name, item.name
        case SideValue(side, name):
            return (name, None) if side == USER else (None, name)
        case _:
            return None
