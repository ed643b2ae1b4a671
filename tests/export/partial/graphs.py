"""Small scorers of pairs as graphs, split by partial evaluation; the scores of all pairs before and after."""

import tempfile
from pathlib import Path

import numpy as np
import onnx.parser
import onnxruntime

from recoserve.bundle import contract
from recoserve_export.graph import monotone_tail
from recoserve_export.graph.network import GraphSource, Input, Network
from recoserve_export.graph.pair_scorer import PairScorer
from recoserve_export.graph.program import Program
from recoserve_export.partial.builder import live_nodes
from recoserve_export.partial.evaluate import evaluate
from recoserve_export.partial.probe import run_probe
from recoserve_export.partial.result import DotProductScore
from recoserve_export.partial.values import PAIR
from recoserve_export.write import item_tables, ranking_graphs

USERS, ITEMS, GENRES, DIM = 5, 9, 3, 4
OPSET = 20
LOOKUP = "u = Gather (users, user)\n i = Gather (items, item)\n g = Gather (genres, genre)\n"
DOT = "p = Mul (u, i)\n d = ReduceSum <keepdims = 1> (p, last)\n"
CONCAT = "c = Concat <axis = -1> (u, i)\n"
SUM = "s = Add (u, i)\n"
RELU_OF_SUM = SUM + "r = Relu (s)\n"  # r is a per-pair value: Relu can't be distributed over a sum


def table(rows, width, seed):
    return np.random.default_rng(seed).uniform(-1, 1, (rows, width)).astype(np.float32)


CONSTANTS = {
    "users": table(USERS, DIM, 1),
    "items": table(ITEMS, DIM, 2),
    "genres": table(GENRES, DIM, 3),
    "of_user": table(USERS, 1, 4),
    "of_item": table(ITEMS, 1, 5),
    "column": table(DIM, 1, 6),
    "square": table(DIM, DIM, 7),
    "wide": table(2 * DIM, 3, 8),
    "row": table(1, DIM, 9)[0],
    "three": table(3, 1, 10),
    "last": np.array([-1]),
    "one": np.array([1]),
    "zero": np.array([0]),
    "half": np.array(0.5, np.float32),
    "minus": np.array(-2, np.float32),
}


def scorer(body, **constants):
    """A network of `u`, `i` and `g`, [B, DIM] each, whose `body` makes `score`."""
    text = f"agraph (int64[B] user, int64[B] item, int64[B] genre) => (float[B] score) {{ {LOOKUP} {body} }}"
    arrays = CONSTANTS | {name: np.asarray(value) for name, value in constants.items()}
    return network_of(onnx.parser.parse_graph(text).node, arrays)


def network_of(nodes, constants, output="score"):
    for number, node in enumerate(nodes):
        node.name = f"node_{number}"  # as exporters name them
    inputs = {name: Input(name, np.dtype(np.int64)) for name in ("user", "item", "genre")}
    return Network(tuple(nodes), constants, inputs, output, OPSET)


def pair_scorer(network, users=USERS, items=ITEMS):
    source = GraphSource("onnx", {}, "model", network, "user", "item", lambda values: values["user"])
    return PairScorer(source, users, items, {"genre": np.arange(items) % GENRES})


def evaluated(network, method=evaluate):
    """What partial evaluation, or the fallback as the `method`, makes of a network."""
    return method(network, run_probe(network, pair_scorer(network).feeds), "user")


def split(body, **constants):
    """The split scorer, whose scores have been found to be the network's."""
    network = scorer(body, **constants)
    result = evaluated(network)
    assert_same_scores(network, result)
    return result


def pair_operators(result):
    """The operators of the pair program, in order; none if the score is a dot product."""
    if isinstance(result.score, DotProductScore):
        return []
    return [node.op_type for node in live_nodes(result.programs.nodes[PAIR], [result.score])]


def is_dot_product(result):
    return isinstance(result.score, DotProductScore)


def uses_own_embeddings(result):
    """Whether the score is the dot product of the model's own two embeddings."""
    return is_dot_product(result) and result.score.uses_own_embeddings


def network_scores(network):
    """The network's own scores of all pairs, [users, items]."""
    dtypes = {name: graph_input.dtype for name, graph_input in network.inputs.items()}
    program = Program(network.nodes, network.constants, dtypes, [network.output], network.opset)
    rows = np.divmod(np.arange(USERS * ITEMS), ITEMS)
    return program.run(pair_scorer(network).feeds(*rows))[0].reshape(USERS, ITEMS)


def split_scores(network, result):
    """The split scorer's scores of all pairs, [users, items]: of its tables, or of the graphs of a bundle."""
    pairs = pair_scorer(network)
    if isinstance(result.score, DotProductScore):
        users, items = item_tables.vector_tables(pairs, result, result.score)
        return monotone_tail.apply_tail(result.tail, users.values.astype(np.float64) @ items.values.T.astype(np.float64))
    with tempfile.TemporaryDirectory() as folder:
        ranking_graphs.write(Path(folder), item_tables.prepare(Path(folder) / contract.TENSORS, pairs, result))
        session = onnxruntime.InferenceSession(Path(folder) / contract.GRAPHS[contract.SCORE])
        scores = session.run(["score"], {"user_id": np.arange(USERS), "item_id": np.arange(ITEMS)})[0]
        (last,) = session.run(["score"], {"user_id": np.array([USERS - 1]), "item_id": np.array([ITEMS - 1])})
        np.testing.assert_allclose(last, scores[-1:, -1:], rtol=1e-5, atol=1e-6)
        return scores


def assert_same_scores(network, result):
    expected = network_scores(network)
    np.testing.assert_allclose(split_scores(network, result), expected, rtol=1e-5, atol=1e-5 * max(1, np.abs(expected).max()))
