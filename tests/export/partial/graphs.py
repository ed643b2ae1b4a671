"""Small scorers of pairs, taken apart or run whole; all their scores, and the whole graph's own."""

import tempfile
from pathlib import Path

import numpy as np
import onnx.parser
import onnxruntime

from recoserve.bundle import contract
from recoserve_export.graph.monotone_tail import finish
from recoserve_export.graph.network import GraphSource, Input, Network
from recoserve_export.graph.pair_scorer import Pairs
from recoserve_export.graph.program import Program
from recoserve_export.partial.evaluate import evaluate
from recoserve_export.partial.probe import run_probe
from recoserve_export.partial.result import Vectors
from recoserve_export.partial.values import PAIR, needed
from recoserve_export.write import item_tables, ranking_graphs

USERS, ITEMS, GENRES, DIM = 5, 9, 3, 4
OPSET = 20
LOOKUP = "u = Gather (users, user)\n i = Gather (items, item)\n g = Gather (genres, genre)\n"


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
    known = CONSTANTS | {name: np.asarray(value) for name, value in constants.items()}
    return network_of(onnx.parser.parse_graph(text).node, known)


def network_of(nodes, constants, output="score"):
    for number, node in enumerate(nodes):
        node.name = f"node_{number}"  # as exporters name them
    inputs = {name: Input(name, np.dtype(np.int64)) for name in ("user", "item", "genre")}
    return Network(tuple(nodes), constants, inputs, output, OPSET)


def pairs_of(network):
    source = GraphSource("onnx", {}, "model", network, "user", "item", lambda values: values["user"])
    return Pairs(source, USERS, ITEMS, {"genre": np.arange(ITEMS) % GENRES})


def read(network, how=evaluate):
    return how(network, run_probe(network, pairs_of(network).feeds), "user")


def apart(body, **constants):
    """What comes of a scorer whose scores have been found to stay what they were."""
    network = scorer(body, **constants)
    found = read(network)
    assert_same_scores(network, found)
    return found


def pair_operators(found):
    """The operators that are left for every pair, in order; none where the score is a dot product."""
    return [] if isinstance(found.score, Vectors) else [node.op_type for node in needed(found.programs.nodes[PAIR], [found.score])]


def own_scores(network):
    """The graph's own scores of all pairs, [users, items]."""
    dtypes = {name: each.dtype for name, each in network.inputs.items()}
    program = Program(network.nodes, network.constants, dtypes, [network.output], network.opset)
    return program.run(pairs_of(network).feeds(*np.divmod(np.arange(USERS * ITEMS), ITEMS)))[0].reshape(USERS, ITEMS)


def scores(network, found):
    """The same, of what the network was made into."""
    pairs = pairs_of(network)
    if isinstance(found.score, Vectors):
        users, items = item_tables.vector_tables(pairs, found, found.score)
        return finish(found.tail, users.values.astype(np.float64) @ items.values.T.astype(np.float64))
    with tempfile.TemporaryDirectory() as folder:
        ranking_graphs.write(Path(folder), item_tables.prepare(Path(folder) / contract.TENSORS, pairs, found))
        session = onnxruntime.InferenceSession(Path(folder) / contract.GRAPHS[contract.SCORE])
        all_users = session.run(["score"], {"user_id": np.arange(USERS), "item_id": np.arange(ITEMS)})[0]
        (alone,) = session.run(["score"], {"user_id": np.array([USERS - 1]), "item_id": np.array([ITEMS - 1])})
        np.testing.assert_allclose(alone, all_users[-1:, -1:], rtol=1e-5, atol=1e-6)
        return all_users


def assert_same_scores(network, found):
    expected = own_scores(network)
    np.testing.assert_allclose(scores(network, found), expected, rtol=1e-5, atol=1e-5 * max(1, np.abs(expected).max()))
