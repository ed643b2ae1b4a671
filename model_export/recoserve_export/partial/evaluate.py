"""Partial evaluation: a scorer's graph is read once, node by node, and split into a user, an item and a pair program.

The abstract values of a node's inputs are known, and decide those of its outputs. A node whose inputs are constants or values of
one side goes to that side's program as it stands. A node that joins both sides is rewritten by its operator's rule if that can keep
the sides apart, and otherwise goes to the pair program.
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
from recoserve_export.partial.result import DotProductScore, NotSeparable, SplitScorer, node_with_subgraph, one_sided_error
from recoserve_export.partial.rules import RULES, OperatorCall
from recoserve_export.partial.shapes import reshape_side
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

AbstractValue = Value | BatchShape  # the rules see Values only: `_fit_any_batch` puts a constant in place of a BatchShape
SHAPE_INPUT = 1  # the index of the shape among the inputs of Reshape and Expand


def evaluate(network: Network, probe: Probe, user_input: str) -> SplitScorer:
    """Split the scorer into its programs; `user_input` is the name of the user's input, every other input is the item's.

    Raises NotSeparable if the graph can't be split, and ExportRefused if the score doesn't depend on both sides.
    """
    node = node_with_subgraph(network)
    if node is not None:
        raise NotSeparable(f"{node.op_type} contains a subgraph")
    output, tail = split_tail(network, probe)
    builder = ProgramBuilder(network.opset, network.constants)
    values: dict[str, AbstractValue] = {name: Constant(array) for name, array in network.constants.items()}
    for name, graph_input in network.inputs.items():
        values[name] = SideValue(USER if name == user_input else ITEM, name, graph_input.shape)
    for node in live_nodes(network.nodes, [output]):
        values.update(_evaluate_node(builder, probe, node, values))
    score = values[output]
    if isinstance(score, BatchShape):
        raise NotSeparable("the score depends on the number of pairs alone")
    if isinstance(score, Constant | SideValue):
        raise one_sided_error({score.side} if isinstance(score, SideValue) else ())
    split_score, shift = _split_score(builder, score, probe.with_two_pairs[output].dtype)
    return SplitScorer(builder, split_score, (*shift, *tail))


def _evaluate_node(
    builder: ProgramBuilder, probe: Probe, node: onnx.NodeProto, values: Mapping[str, AbstractValue]
) -> Mapping[str, AbstractValue]:
    """The values of the node's outputs, by name."""
    inputs = [values[name] if name else None for name in node.input]
    kinds = {type(value) for value in inputs if value is not None}
    outputs = [name for name in node.output if name]
    if not probe.with_two_pairs.keys() >= set(outputs):
        raise NotSeparable(f"{node.op_type} has an output that isn't a tensor")
    operator = operators.properties(node.op_type)
    # The inputs whose numbers the operator reads; of the others it reads the shape or the dtype. The Shape of a per-user value is
    # no per-user value: it depends on how many rows there are, and not on what they hold.
    content = inputs[: operator.content_inputs]
    if all(isinstance(value, Constant) for value in content) or kinds <= {Constant, BatchShape}:
        return {name: _evaluate_id_independent(probe, node, name) for name in outputs}
    row_shapes = {name: _row_shape(probe, node, name) for name in outputs}
    row_inputs = tuple(_fit_any_batch(node, index, value, row_shapes[outputs[0]]) for index, value in enumerate(inputs))
    has_repeated = any(isinstance(value, Constant) and value.repeated for value in row_inputs)
    is_concat = node.op_type == "Concat"
    # The one row of a repeated constant broadcasts, or is repeated for a Concat; any other operator would see a batch of one.
    if has_repeated and not operator.broadcasts and not is_concat:
        raise NotSeparable(f"{node.op_type} needs a constant row for every pair")
    sides = {value.side for value in row_inputs if isinstance(value, SideValue)}
    # A Concat with a repeated constant is left to its rule: a side's program has no number of rows to repeat the constant for.
    if kinds <= {Constant, BatchShape, SideValue} and len(sides) == 1 and not (has_repeated and is_concat):
        return _evaluate_one_sided(builder, node, row_inputs, sides.pop(), row_shapes)
    dtype = probe.with_two_pairs[outputs[0]].dtype
    return _evaluate_joining(OperatorCall(builder, node, row_inputs, row_shapes[outputs[0]], dtype), row_shapes)


def _evaluate_one_sided(
    builder: ProgramBuilder,
    node: onnx.NodeProto,
    inputs: Sequence[Value | None],
    side: str,
    row_shapes: Mapping[str, RowShape],
) -> Mapping[str, AbstractValue]:
    """The outputs of a node that goes to the program of one side."""
    first = inputs[0]
    # A reshape is written anew for any number of rows: a Squeeze that names no axes would also squeeze the rows if there is one.
    if node.op_type in operators.RESHAPES and isinstance(first, SideValue):
        return {name: reshape_side(builder, first, row_shape) for name, row_shape in row_shapes.items()}
    builder.copy(side, node, [_side_name(builder, value) for value in inputs])
    return {name: SideValue(side, name, row_shape) for name, row_shape in row_shapes.items()}


def _side_name(builder: ProgramBuilder, value: Value | None) -> str:
    """The name of a side's value or of a constant in the program of that side; empty for an input that is left out."""
    if value is None:
        return ""
    return value.name if isinstance(value, SideValue) else builder.materialise(value)


def _evaluate_joining(call: OperatorCall, row_shapes: Mapping[str, RowShape]) -> Mapping[str, AbstractValue]:
    """The outputs of a node that can't go to one side's program: rewritten by the operator's rule, or computed for every pair."""
    node, builder = call.node, call.builder
    # Nodes that were added by a rule that returns None are unused, and dropped later.
    rewritten = RULES[node.op_type](call) if node.op_type in RULES else None
    if isinstance(rewritten, list):
        return dict(zip(node.output, rewritten, strict=True))
    # A rule for one output knows nothing of a second one, such as the mask of Dropout or the statistics of BatchNormalization.
    if rewritten is not None and len(node.output) == 1:
        return {node.output[0]: rewritten}
    variable_inputs = [value for value in call.inputs if not isinstance(value, Constant | None)]
    # A user's value has one row in the pair program, which broadcasts over the pairs. An operator that doesn't broadcast needs as
    # many rows in each of its variable inputs, so if there are several, they are expanded to a row for every pair.
    may_broadcast = operators.properties(node.op_type).broadcasts or len(variable_inputs) == 1
    materialise = builder.materialise if may_broadcast else builder.materialise_rows
    builder.copy(PAIR, node, [materialise(value) if value is not None else "" for value in call.inputs])
    return {name: builder.pair_value(name, row_shape) for name, row_shape in row_shapes.items()}


def _evaluate_id_independent(probe: Probe, node: onnx.NodeProto, name: str) -> AbstractValue:
    """An output that depends on no id: a constant, numbers that depend on the number of pairs, or a row repeated for every pair.

    Raises NotSeparable if the output is none of these.
    """
    at_two, at_three = probe.with_two_pairs[name], probe.with_three_pairs[name]
    if at_two.shape == at_three.shape:
        return Constant(at_two) if np.array_equal(at_two, at_three) else BatchShape()
    # Rows that differ without depending on an id, as those of Range, depend on the positions of the pairs in the batch.
    if probe.row_shape(name) is None or not (at_three == at_two[:1]).all():
        raise NotSeparable(f"{node.op_type} gives numbers that depend on the positions of the pairs in the batch")
    return Constant(at_two[:1], repeated=True)


def _fit_any_batch(node: onnx.NodeProto, index: int, value: AbstractValue | None, row_shape: RowShape) -> Value | None:
    """The node's input `value`, which has this index; for a shape that contains the number of pairs, one that fits any number.

    Raises NotSeparable for any other numbers that depend on the number of pairs: the programs run for other numbers of rows, where
    they would be wrong.
    """
    if not isinstance(value, BatchShape):
        return value
    placeholder = operators.properties(node.op_type).batch_placeholder
    if index != SHAPE_INPUT or placeholder is None:
        raise NotSeparable(f"{node.op_type} computes with the number of pairs")
    return Constant(np.array([placeholder, *row_shape], np.int64))


def _row_shape(probe: Probe, node: onnx.NodeProto, name: str) -> RowShape:
    """The row shape of an output; raises NotSeparable unless its first axis, and no other, has the length of the batch."""
    row_shape = probe.row_shape(name)
    if row_shape is None:
        at_two, at_three = list(probe.with_two_pairs[name].shape), list(probe.with_three_pairs[name].shape)
        raise NotSeparable(f"{node.op_type} gives shape {at_two} for 2 pairs and {at_three} for 3")
    return row_shape


def _split_score(builder: ProgramBuilder, value: Value, dtype: np.dtype[np.generic]) -> tuple[str | DotProductScore, Tail]:
    """The score before the tail, and a tail step that adds the constant terms; no step if they sum to 0.

    The score is a dot product if every term is one, otherwise the name of a value of the pair program. The constants are taken out
    because adding them changes no order, and would cost a dimension of every vector.
    """
    terms = value.terms if isinstance(value, LinearCombination) else (value,)
    step = TailStep("Add", sum(float(term.array.reshape(-1)[0]) for term in terms if isinstance(term, Constant)))
    shift = () if step.is_identity else (step,)
    variable_terms = tuple(term for term in terms if not isinstance(term, Constant))
    factors = [_factors(term) for term in variable_terms]
    if None not in factors:
        # Vectors that were joined from several terms, or weighted, aren't the model's own embeddings.
        single_term = variable_terms[0] if len(variable_terms) == 1 else None
        uses_own_embeddings = isinstance(single_term, DotProduct | ElementwiseProduct) and not single_term.weighted
        return DotProductScore(tuple(pair for pair in factors if pair is not None), uses_own_embeddings), shift
    variable = variable_terms[0] if len(variable_terms) == 1 else LinearCombination(variable_terms, value.row_shape)  # type: ignore[union-attr]  # never a Constant
    score = builder.as_float32(builder.materialise_score(variable), dtype)
    sides = builder.sides_of(score)
    if len(sides) < 2:
        raise one_sided_error(sides)
    return score, shift


def _factors(term: Value) -> tuple[str | None, str | None] | None:
    """The names of a term's user factor and item factor, None for a factor of 1; None if the term isn't a product of the two."""
    match term:
        case DotProduct(user, item) | ElementwiseProduct(user, item):
            return user.name, item.name
        case SideValue(side, name):
            return (name, None) if side == USER else (None, name)
        case _:
            return None
