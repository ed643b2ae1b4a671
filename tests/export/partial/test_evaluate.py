"""Partial evaluation of whole graphs: every score stays what it was, and what can't be split is refused with the reason."""

import numpy as np
import onnx.parser
import onnxruntime
import pytest

from recoserve.bundle import contract
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import GraphSource, Input, Network
from recoserve_export.graph.pair_scorer import PairScorer
from recoserve_export.partial.evaluate import evaluate
from recoserve_export.partial.fallback import fallback
from recoserve_export.partial.probe import run_probe
from recoserve_export.partial.result import NotSeparable
from recoserve_export.write import item_tables, ranking_graphs
from tests.export.partial.graphs import (
    CONCAT,
    DIM,
    GENRES,
    ITEMS,
    SUM,
    USERS,
    evaluated,
    is_dot_product,
    network_scores,
    pair_operators,
    pair_scorer,
    scorer,
    split,
    split_scores,
    table,
    uses_own_embeddings,
)

TURNED = "a = Transpose (u)\n b = Transpose (i)\n p = Mul (a, b)\n score = ReduceSum <keepdims = 0> (p, zero)"
TWICE = (
    "c = Concat <axis = 1> (X, Y, Y)\n a, b = Split <axis = 1> (c, sizes)\n"
    "s = Softmax <axis = -1> (b)\n h = MatMul (s, wide)\n score = MatMul (h, three)"
)


@pytest.mark.parametrize(
    ("body", "uses_own_embeddings"),
    [
        ("p = Mul (u, i)\n score = ReduceSum <keepdims = 0> (p, last)", True),
        ("p = Mul (u, i)\n s = ReduceSum <keepdims = 0> (p, last)\n score = Sigmoid (s)", True),
        ('score = Einsum <equation = "bd,bd->b"> (u, i)', True),
        ("p = Mul (u, i)\n score = MatMul (p, column)", False),
        ("p = Mul (u, i)\n s = ReduceSum (p, last)\n b = MatMul (i, column)\n score = Add (s, b)", False),
        ("c = Concat <axis = 1> (u, i)\n w = Concat <axis = 0> (column, column)\n score = MatMul (c, w)", False),
    ],
)
def test_a_dot_product_is_recognised_in_every_form_it_is_written_in(body, uses_own_embeddings):
    result = split(body)

    assert is_dot_product(result)
    assert result.score.uses_own_embeddings is uses_own_embeddings


def test_a_graph_that_moves_the_axis_of_pairs_is_not_separable():
    with pytest.raises(NotSeparable, match=r"Transpose gives shape \[4, 2\] for 2 pairs and \[4, 3\] for 3"):
        evaluated(scorer(TURNED))


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
def test_a_score_without_both_sides_is_refused(body, reason):
    with pytest.raises(ExportRefused, match=reason):
        evaluated(scorer(body, sizes=np.array([DIM, 2 * DIM])))


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
    np.testing.assert_allclose(split_scores(network, evaluated(network)), network_scores(network), rtol=tolerance, atol=tolerance)


def test_tables_of_integers_keep_their_scores():
    body = "a = Gather (left, user)\n b = Gather (right, item)\n p = Mul (a, b)\n score = ReduceSum <keepdims = 0> (p, last)"
    result = split(body, left=np.arange(USERS * DIM).reshape(USERS, DIM), right=np.arange(ITEMS * DIM).reshape(ITEMS, DIM) - 9)

    assert pair_operators(result) == ["Mul", "ReduceSum", "Cast"]


@pytest.mark.parametrize(("users", "items"), [(1, 1), (2, 1), (1, 4), (2, 700)])
@pytest.mark.parametrize("method", [evaluate, fallback])
def test_catalogues_of_any_size_are_ranked(tmp_path, users, items, method):
    network = scorer(
        "c = Concat <axis = 1> (u, i)\n h = MatMul (c, wide)\n r = Relu (h)\n m = MatMul (r, three)\n score = Sigmoid (m)",
        users=table(users, DIM, 0),
        items=table(items, DIM, 1),
    )
    pairs = pair_scorer(network, users, items)
    result = method(network, run_probe(network, pairs.feeds, users, items), "user")
    result.programs.widest_row = 1 << 20
    ranking_graphs.write(tmp_path, item_tables.prepare(tmp_path / contract.TENSORS, pairs, result))
    recommend = onnxruntime.InferenceSession(tmp_path / contract.GRAPHS[contract.RECOMMEND])
    item_ids, best = recommend.run(None, {"user_id": np.arange(users), "k": np.array([5])})
    score = onnxruntime.InferenceSession(tmp_path / contract.GRAPHS[contract.SCORE])
    (scores,) = score.run(["score"], {"user_id": np.arange(users), "item_id": np.arange(items)})

    np.testing.assert_allclose(-np.sort(-scores, axis=1)[:, :5], best, rtol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(scores, item_ids, axis=1), best, rtol=1e-6)


def test_inputs_of_one_column_are_split_as_well():
    text = """agraph (int64[B, 1] user, int64[B, 1] item) => (float[B, 1] score) {
        a = Gather (users, user) b = Gather (items, item) t = Transpose <perm = [0, 2, 1]> (b) m = MatMul (a, t)
        f = Reshape (m, flat) score = Sigmoid (f) }"""
    constants = {"users": table(USERS, DIM, 0), "items": table(ITEMS, DIM, 1), "flat": np.array([-1, 1])}
    inputs = {name: Input(name, np.dtype(np.int64), (1,)) for name in ("user", "item")}
    network = Network(tuple(onnx.parser.parse_graph(text).node), constants, inputs, "score", 20)
    pairs = PairScorer(GraphSource("onnx", {}, "model", network, "user", "item", lambda _: np.zeros(0)), USERS, ITEMS)
    probe = run_probe(network, pairs.feeds)
    result = evaluate(network, probe, "user")
    users, items = item_tables.vector_tables(pairs, result, result.score)

    np.testing.assert_allclose(users.values @ items.values.T, constants["users"] @ constants["items"].T, rtol=1e-5)
    assert result.score.uses_own_embeddings


@pytest.mark.parametrize("body", ["t = Softmax <axis = -1> (c)", "t = LayerNormalization (c, ones)"])
def test_an_operator_over_both_sides_runs_for_every_pair(body):
    result = split(f"{CONCAT} {body}\n score = MatMul (t, tall)", tall=table(2 * DIM, 1, 0), ones=np.ones(2 * DIM, np.float32))

    assert ["Concat", "Expand", "Concat", body.split()[2], "Gemm"] == pair_operators(result)


@pytest.mark.parametrize(
    "body", ["t = Max (u, i)", "t = Min (i, u, row)", "m = Greater (u, i)\n t = Where (m, i, row)", "t = Mean (u, i, g)"]
)
def test_an_operator_that_broadcasts_needs_no_row_of_the_user_for_every_pair(body):
    operators = pair_operators(split(f"{body}\n r = Relu (t)\n score = MatMul (r, column)"))

    assert "Expand" not in operators


@pytest.mark.parametrize("body", ["t = PRelu (u, i)", "t = PRelu (i, u)", "t = PRelu (s, row)"])
def test_a_slope_of_one_side_meets_the_other_sides_row_of_the_same_pair(body):
    assert pair_operators(split(f"{SUM} {body}\n score = MatMul (t, column)"))[-2:] == ["PRelu", "Gemm"]


def test_integers_of_one_side_divide_as_integers():
    result = split(
        "h = Div (item, two)\n j = Gather (halves, h)\n p = Mul (u, j)\n score = ReduceSum (p, last)",
        two=np.array(2),
        halves=table(ITEMS, DIM, 0),
    )

    assert uses_own_embeddings(result)


def test_integers_of_both_sides_run_for_every_pair():
    body = "a = Add (user, item)\n h = Div (a, two)\n j = Gather (halves, h)\n p = Mul (u, j)\n score = ReduceSum (p, last)"
    result = split(body, two=np.array(2), halves=table(USERS + ITEMS, DIM, 0))

    assert {"Add", "Div", "Gather"} <= set(pair_operators(result))


@pytest.mark.parametrize(
    "body",
    [
        "a = Reshape (i, target)\n b = Transpose <perm = [0, 2, 1]> (a)\n t = Flatten <axis = 1> (b)",
        "b = Gather (of_item, item)\n n = Shape <end = 1> (item)\n m = Concat <axis = 0> (n, width)\n t = Expand (b, m)",
        "t = LayerNormalization (i, row)",
        "t = Softmax <axis = -1> (i)",
        "j = Gather (other, item)\n t = Gather (items, j)",
    ],
)
def test_any_operator_of_one_side_stays_there(body):
    constants = {"target": np.array([0, 2, 2]), "width": np.array([DIM]), "other": np.arange(ITEMS)[::-1].copy()}

    assert uses_own_embeddings(split(f"{body}\n p = Mul (u, t)\n score = ReduceSum (p, last)", **constants))


def test_an_id_may_be_used_twice():
    product = "h = Gather (others, item)\n s = Mul (i, h)\n p = Mul (u, s)\n d = ReduceSum (p, last)\n"

    assert is_dot_product(split(product + "b = MatMul (h, column)\n score = Add (d, b)", others=table(ITEMS, DIM, 11)))


def test_features_of_the_item_are_values_of_its_side():
    assert 0 < GENRES < ITEMS
    assert uses_own_embeddings(split("t = Add (i, g)\n p = Mul (t, u)\n score = ReduceSum (p, last)"))
