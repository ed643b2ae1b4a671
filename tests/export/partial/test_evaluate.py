"""Graphs taken apart: what comes of each way in which two sides meet, and that every score stays the same."""

import numpy as np
import onnx.parser
import pytest

from recoserve_export.graph.monotone_tail import finish
from recoserve_export.graph.network import GraphSource, Input, Network
from recoserve_export.graph.pair_scorer import Pairs, row_counts
from recoserve_export.graph.program import Program
from recoserve_export.partial.evaluate import evaluate
from recoserve_export.partial.probe import run_probe
from recoserve_export.partial.result import Vectors
from recoserve_export.write import item_tables

USERS, ITEMS, DIM = 7, 11, 4
LOOKUP = "u = Gather (users, user)\n i = Gather (items, item)\n"
RNG = np.random.default_rng(0)
CONSTANTS = {
    "users": RNG.standard_normal((USERS, DIM)).astype(np.float32),
    "items": RNG.standard_normal((ITEMS, DIM)).astype(np.float32),
    "column": RNG.standard_normal((DIM, 1)).astype(np.float32),
    "last": np.array([1]),
}


def network(body):
    text = f"agraph (int64[B] user, int64[B] item) => (float[B] score) {{ {LOOKUP} {body} }}"
    graph = onnx.parser.parse_graph(text)
    inputs = {name: Input(name, np.dtype(np.int64)) for name in ("user", "item")}
    return Network(tuple(graph.node), CONSTANTS, inputs, "score", 20)


def pairs_of(found):
    return Pairs(GraphSource("onnx", {}, "model", found, "user", "item", lambda values: values["user"]), USERS, ITEMS)


@pytest.mark.parametrize(
    ("body", "plain"),
    [
        ("p = Mul (u, i)\n score = ReduceSum <keepdims = 0> (p, last)", True),
        ("p = Mul (u, i)\n s = ReduceSum <keepdims = 0> (p, last)\n score = Sigmoid (s)", True),
        ('score = Einsum <equation = "bd,bd->b"> (u, i)', True),
        ("p = Mul (u, i)\n score = MatMul (p, column)", False),
        ("p = Mul (u, i)\n s = ReduceSum (p, last)\n b = MatMul (i, column)\n score = Add (s, b)", False),
        ("c = Concat <axis = 1> (u, i)\n w = Concat <axis = 0> (column, column)\n score = MatMul (c, w)", False),
    ],
)
def test_a_dot_product_is_found_and_keeps_every_score(body, plain):
    found = network(body)
    assert row_counts(found) == {"user": USERS, "item": ITEMS}
    pairs = pairs_of(found)
    taken = evaluate(found, run_probe(found, pairs.feeds), "user")
    assert isinstance(taken.score, Vectors)
    assert taken.score.plain is plain
    users, items = item_tables.vector_tables(pairs, taken, taken.score)
    user_rows, item_rows = np.divmod(np.arange(USERS * ITEMS), ITEMS)
    whole = Program(found.nodes, found.constants, {name: each.dtype for name, each in found.inputs.items()}, ["score"], found.opset)
    expected = whole.run(pairs.feeds(user_rows, item_rows))[0].reshape(-1)
    products = np.einsum("pd,pd->p", users.values[user_rows].astype(np.float64), items.values[item_rows].astype(np.float64))
    np.testing.assert_allclose(finish(taken.tail, products), expected, rtol=1e-5, atol=1e-6)
