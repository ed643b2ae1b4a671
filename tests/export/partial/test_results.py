"""What comes of graphs that no rule is enough for: run whole, or turned away with the reason; and of other types of numbers."""

import numpy as np
import onnx.parser
import onnxruntime
import pytest

from recoserve.bundle import contract
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import GraphSource, Input, Network
from recoserve_export.graph.pair_scorer import Pairs
from recoserve_export.partial.evaluate import evaluate
from recoserve_export.partial.fallback import whole
from recoserve_export.partial.probe import refuse_coupled, refuse_random, run_probe
from recoserve_export.partial.result import NotApart
from recoserve_export.write import item_tables, ranking_graphs
from tests.export.partial.graphs import (
    DIM,
    ITEMS,
    USERS,
    apart,
    assert_same_scores,
    own_scores,
    pair_operators,
    pairs_of,
    read,
    scorer,
    scores,
    table,
)

DOT = "p = Mul (u, i)\n d = ReduceSum <keepdims = 1> (p, last)\n"
TWICE = (
    "c = Concat <axis = 1> (X, Y, Y)\n a, b = Split <axis = 1> (c, sizes)\n"
    "s = Softmax <axis = -1> (b)\n h = MatMul (s, wide)\n score = MatMul (h, three)"
)
TURNED = "a = Transpose (u)\n b = Transpose (i)\n p = Mul (a, b)\n score = ReduceSum <keepdims = 0> (p, zero)"


def test_a_graph_that_moves_the_axis_of_pairs_is_not_taken_apart():
    with pytest.raises(NotApart, match=r"Transpose gives \[4, 2\] for 2 pairs and \[4, 3\] for 3"):
        read(scorer(TURNED))


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
def test_a_graph_run_whole_keeps_every_score(body):
    network = scorer(body, none=np.array(0), step=np.array(1))

    assert_same_scores(network, read(network, whole))


def test_sequences_are_no_arrays_and_run_whole():
    network = scorer(
        "q = SplitToSequence <axis = 1> (i, two)\n a = SequenceAt (q, one)\n b = SequenceAt (q, none)\n"
        "p = Mul (a, b)\n c = Concat <axis = 1> (p, u)\n s = Sigmoid (c)\n score = ReduceSum <keepdims = 0> (s, last)",
        two=np.array(2),
        none=np.array(0),
        one=np.array(1),
    )
    with pytest.raises(NotApart, match="SplitToSequence gives no array"):
        read(network)
    assert_same_scores(network, read(network, whole))


def test_a_graph_run_whole_has_its_inputs_alone_on_either_side():
    found = read(scorer(TURNED), whole)

    assert sorted(found.programs.crossing) == ["item", "user"]


def test_a_graph_whose_values_grow_with_the_square_of_the_pairs_is_run_in_the_smallest_pieces():
    found = read(scorer("t = Transpose (i)\n m = MatMul (u, t)\n score = ReduceMax <keepdims = 0> (m, one)"), whole)

    assert found.programs.widest > 1 << 20


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


def test_a_graph_with_a_branch_is_turned_away():
    with pytest.raises(NotApart, match="If has a graph of its own"):
        read(branching())
    with pytest.raises(ExportRefused, match="If 'score' has a graph of its own"):
        read(branching(), whole)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("t = MatMul (u, column)\n score = Sigmoid (t)", "depends on the user alone"),
        ("score = MatMul (g, column)", "depends on the item alone"),
        (TWICE.replace("X", "i").replace("Y", "u"), "user alone"),
        (TWICE.replace("X", "u").replace("Y", "i"), "item alone"),
        ("n = Shape (user)\n score = ConstantOfShape (n)", "every pair the same score"),
    ],
)
def test_a_score_without_both_sides_is_turned_away(body, reason):
    with pytest.raises(ExportRefused, match=reason):
        read(scorer(body, sizes=np.array([DIM, 2 * DIM])))


@pytest.mark.parametrize("side", ["user", "item"])
def test_a_graph_run_whole_needs_both_inputs(side):
    with pytest.raises(ExportRefused, match=f"depends on the {side} alone"):
        read(scorer(f"a = Gather ({side}s, {side})\n score = MatMul (a, column)"), whole)


@pytest.mark.parametrize(
    "body",
    [
        DOT + "score = Softmax <axis = 0> (d)",
        DOT + "m = ReduceMean (d, zero)\n score = Sub (d, m)",
        DOT + "score = CumSum (d, none)",
        DOT + "e = EyeLike (u)\n t = ReduceSum (e, last)\n score = Add (d, t)",
        "t = Transpose (i)\n m = MatMul (u, t)\n score = ReduceMax <keepdims = 0> (m, one)",
    ],
    ids=["softmax", "mean", "running sum", "eye", "in-batch negatives"],
)
def test_a_score_that_depends_on_its_neighbours_is_turned_away(body):
    network = scorer(body, none=np.array(0))
    with pytest.raises(ExportRefused, match="depends on the pairs scored beside it"):
        refuse_coupled(network, pairs_of(network).feeds, USERS, ITEMS)


def test_a_softmax_within_a_pair_is_no_coupling():
    network = scorer(
        "c = Concat <axis = 1> (u, i)\n s = Softmax <axis = -1> (c)\n h = MatMul (s, wide)\n score = MatMul (h, three)"
    )
    refuse_coupled(network, pairs_of(network).feeds, USERS, ITEMS)

    assert_same_scores(network, read(network))


def test_random_numbers_are_turned_away():
    network = scorer(DOT + "r = RandomNormalLike (d)\n score = Add (d, r)")
    with pytest.raises(ExportRefused, match="RandomNormalLike makes 'r'"):
        refuse_random(network)
    with pytest.raises(ExportRefused, match="changes from one run to the next"):
        refuse_coupled(network, pairs_of(network).feeds, USERS, ITEMS)


@pytest.mark.parametrize(
    "body",
    [
        "p = Mul (a, b)\n score = ReduceSum <keepdims = 0> (p, last)",
        "p = Mul (a, b)\n d = ReduceSum (p, last)\n n = Neg (d)\n score = Add (n, shift)",
        "c = Concat <axis = 1> (a, b)\n h = MatMul (c, weight)\n"
        "n = BatchNormalization (h, gamma, gamma, gamma, gamma)\n r = Relu (n)\n"
        "t = Sub (shift, r)\n score = ReduceMean <keepdims = 0> (t, last)",
    ],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-6), (np.float16, 5e-3)])
def test_other_floats_keep_their_scores(body, dtype, tolerance):
    lookup = "a = Gather (left, user)\n b = Gather (right, item)\n"
    constants = {
        "left": table(USERS, DIM, 0),
        "right": table(ITEMS, DIM, 1),
        "weight": table(2 * DIM, 3, 2),
        "shift": table(1, 1, 3)[0],
    }
    constants["gamma"] = np.abs(table(3, 1, 4)[:, 0])
    network = scorer(lookup + body, **{name: array.astype(dtype) for name, array in constants.items()})
    np.testing.assert_allclose(scores(network, read(network)), own_scores(network), rtol=tolerance, atol=tolerance)


def test_tables_of_whole_numbers_keep_their_scores():
    body = "a = Gather (left, user)\n b = Gather (right, item)\n p = Mul (a, b)\n score = ReduceSum <keepdims = 0> (p, last)"
    found = apart(body, left=np.arange(USERS * DIM).reshape(USERS, DIM), right=np.arange(ITEMS * DIM).reshape(ITEMS, DIM) - 9)

    assert pair_operators(found) == ["Mul", "ReduceSum", "Cast"]


@pytest.mark.parametrize(("users", "items"), [(1, 1), (2, 1), (1, 4), (2, 700)])
@pytest.mark.parametrize("how", [evaluate, whole])
def test_catalogues_of_any_size_are_ranked(tmp_path, users, items, how):
    network = scorer(
        "c = Concat <axis = 1> (u, i)\n h = MatMul (c, wide)\n r = Relu (h)\n m = MatMul (r, three)\n score = Sigmoid (m)",
        users=table(users, DIM, 0),
        items=table(items, DIM, 1),
    )
    pairs = Pairs(
        GraphSource("onnx", {}, "model", network, "user", "item", lambda _: np.zeros(0)),
        users,
        items,
        {"genre": np.zeros(items, int)},
    )
    found = how(network, run_probe(network, pairs.feeds, users, items), "user")
    found.programs.widest = 1 << 20
    ranking_graphs.write(tmp_path, item_tables.prepare(tmp_path / contract.TENSORS, pairs, found))
    recommend = onnxruntime.InferenceSession(tmp_path / contract.GRAPHS[contract.RECOMMEND])
    item_ids, best = recommend.run(None, {"user_id": np.arange(users), "k": np.array([5])})
    score = onnxruntime.InferenceSession(tmp_path / contract.GRAPHS[contract.SCORE])
    (every,) = score.run(["score"], {"user_id": np.arange(users), "item_id": np.arange(items)})

    np.testing.assert_allclose(-np.sort(-every, axis=1)[:, :5], best, rtol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(every, item_ids, axis=1), best, rtol=1e-6)


def test_inputs_of_a_column_each_are_read_as_well():
    text = """agraph (int64[B, 1] user, int64[B, 1] item) => (float[B, 1] score) {
        a = Gather (users, user) b = Gather (items, item) t = Transpose <perm = [0, 2, 1]> (b) m = MatMul (a, t)
        f = Reshape (m, flat) score = Sigmoid (f) }"""
    constants = {"users": table(USERS, DIM, 0), "items": table(ITEMS, DIM, 1), "flat": np.array([-1, 1])}
    inputs = {name: Input(name, np.dtype(np.int64), (1,)) for name in ("user", "item")}
    network = Network(tuple(onnx.parser.parse_graph(text).node), constants, inputs, "score", 20)
    pairs = Pairs(GraphSource("onnx", {}, "model", network, "user", "item", lambda _: np.zeros(0)), USERS, ITEMS)
    probe = run_probe(network, pairs.feeds)
    found = evaluate(network, probe, "user")
    users, items = item_tables.vector_tables(pairs, found, found.score)

    np.testing.assert_allclose(users.values @ items.values.T, constants["users"] @ constants["items"].T, rtol=1e-5)
    assert found.score.plain
