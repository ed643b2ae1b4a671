"""The fallback: a graph that can't be split runs for every pair, with the same scores."""

import numpy as np
import onnx.parser
import pytest

from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Network
from recoserve_export.partial.fallback import fallback
from recoserve_export.partial.result import NotSeparable
from tests.export.partial.graphs import DOT, assert_same_scores, evaluated, scorer

TURNED = "a = Transpose (u)\n b = Transpose (i)\n p = Mul (a, b)\n score = ReduceSum <keepdims = 0> (p, zero)"


@pytest.mark.parametrize(
    "body",
    [
        TURNED,
        DOT + "score = Sigmoid (d)",
        "s = Add (user, item)\n f = Cast <to = 1> (s)\n score = Sigmoid (f)",
        "a = Unsqueeze (u, one)\n b = Squeeze (a)\n p = Mul (b, i)\n score = ReduceSum <keepdims = 0> (p, last)",
        "t = Transpose (i)\n m = MatMul (u, t)\n n = Shape <end = 1> (user)\n k = Squeeze (n)\n r = Range (none, k, step)\n"
        "j = Unsqueeze (r, one)\n e = GatherElements <axis = 1> (m, j)\n score = Squeeze (e, one)",
    ],
    ids=["turned", "dot", "ids themselves", "squeezed", "the diagonal of all by all"],
)
def test_the_fallback_keeps_every_score(body):
    network = scorer(body, none=np.array(0), step=np.array(1))

    assert_same_scores(network, evaluated(network, fallback))


def test_sequences_are_no_arrays_and_run_by_the_fallback():
    network = scorer(
        "q = SplitToSequence <axis = 1> (i, two)\n a = SequenceAt (q, one)\n b = SequenceAt (q, none)\n"
        "p = Mul (a, b)\n c = Concat <axis = 1> (p, u)\n s = Sigmoid (c)\n score = ReduceSum <keepdims = 0> (s, last)",
        two=np.array(2),
        none=np.array(0),
        one=np.array(1),
    )
    with pytest.raises(NotSeparable, match="SplitToSequence has an output that isn't a tensor"):
        evaluated(network)
    assert_same_scores(network, evaluated(network, fallback))


def test_only_the_inputs_of_a_fallback_are_values_of_a_side():
    result = evaluated(scorer(TURNED), fallback)

    assert sorted(result.programs.pair_inputs) == ["item", "user"]


def test_a_value_that_grows_with_the_square_of_the_pairs_is_as_wide_as_can_be():
    result = evaluated(scorer("t = Transpose (i)\n m = MatMul (u, t)\n score = ReduceMax <keepdims = 0> (m, one)"), fallback)

    assert result.programs.widest_row > 1 << 20


def branching():
    text = """agraph (int64[B] user, int64[B] item, int64[B] genre) => (float[B] score) {
        u = Gather (users, user) i = Gather (items, item)
        score = If (yes) <
            then_branch = yes_graph () => (float[B] a) { p = Mul (u, i) a = ReduceSum <keepdims = 0> (p, last) },
            else_branch = no_graph () => (float[B] b) { q = Add (u, i) b = ReduceSum <keepdims = 0> (q, last) }
        >
    }"""
    network = scorer(DOT + "score = Identity (d)", yes=np.array(True))
    return Network(tuple(onnx.parser.parse_graph(text).node), network.constants, network.inputs, "score", network.opset)


def test_a_graph_with_a_branch_is_refused():
    with pytest.raises(NotSeparable, match="If contains a subgraph"):
        evaluated(branching())
    with pytest.raises(ExportRefused, match="If 'score' contains a subgraph"):
        evaluated(branching(), fallback)


@pytest.mark.parametrize("side", ["user", "item"])
def test_a_fallback_that_reads_one_input_is_refused(side):
    with pytest.raises(ExportRefused, match=f"depends on the {side} alone"):
        evaluated(scorer(f"a = Gather ({side}s, {side})\n score = MatMul (a, column)"), fallback)
