"""finish.onnx: the tail of a score as a graph of its own, for whoever has the products by other means."""

import json
import shutil

import numpy as np
import onnxruntime
import pytest

from recoserve.bundle import contract
from recoserve.errors import ExportRefused
from recoserve_export import export_model
from recoserve_export.graph.dot_score import EmbeddingTable, Formula
from recoserve_export.graph.monotone_tail import SIGMOID, TailStep
from recoserve_export.verify import parity
from recoserve_export.verify.reference import TableReference
from recoserve_export.write import int8_graphs, int8_index, onnx_nodes, tensors
from tests.export.models import random_tables, torch_model

TAIL_FILE = contract.FINISH_GRAPHS[contract.FINISH]
TAILS = [
    SIGMOID,
    (TailStep("Mul", 0.3), TailStep("Add", -1.5), *SIGMOID, TailStep("Mul", 5.0)),
    (TailStep("Tanh"),),
    (TailStep("Exp"),),
    (TailStep("Add", 2.0),),
]


def open_session(path):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "1")
    return onnxruntime.InferenceSession(path, options)


@pytest.fixture(scope="module")
def sigmoid_bundle(tmp_path_factory):
    """A bundle of a model that ends in a sigmoid, and its tables."""
    users, items = random_tables(30, 50)
    model = torch_model(users, items, lambda _, u, v: (u * v).sum(-1).sigmoid())
    target = tmp_path_factory.mktemp("tail") / "bundle"
    export_model(model, target, similarity="model")
    return target, users, items


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("tail", TAILS, ids=lambda tail: "-".join(step.operator for step in tail))
def test_the_tail_graph_gives_a_product_the_very_score_that_rescoring_gives_it(tail, cosine, tmp_path):
    """Bit for bit, of products large and small."""
    tables = [EmbeddingTable("t", table) for table in random_tables(20, 1000, scale=2.0)]
    formula = Formula(cosine, tail)
    users, items = tensors.write(tmp_path / contract.TENSORS, *tables, formula)
    int8_graphs.write(tmp_path, users, items, int8_index.write(tmp_path, tables[1], formula), formula)
    query_rows, blocks = np.arange(20).repeat(32), np.tile(np.arange(32), 20)
    feed = {contract.QUERY: tables[0].values, contract.QUERY_ROW: query_rows, contract.BLOCK_ROW: blocks}

    products, scores = open_session(tmp_path / "rescore.onnx").run([contract.PRODUCT, contract.SCORE_OUT], feed)
    (scores_of_products,) = open_session(tmp_path / TAIL_FILE).run(None, {contract.PRODUCT: products.reshape(-1)})
    assert scores.reshape(-1).tobytes() == scores_of_products.tobytes()
    assert len(np.unique(scores_of_products)) > 5_000


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_a_bundle_whose_score_has_no_tail_has_no_tail_graph(similarity, sigmoid_bundle, tmp_path):
    """Neither one of tables, nor one of a model whose sigmoid isn't served."""
    _, users, items = sigmoid_bundle
    model = torch_model(users, items, lambda _, u, v: (u * v).sum(-1).sigmoid())
    for source, name in (((users, items), "tables"), (model, "model")):
        export_model(source, tmp_path / name, similarity=similarity)

        assert not (tmp_path / name / TAIL_FILE).exists()
        assert contract.FINISH not in json.loads((tmp_path / name / "manifest.json").read_text())["graphs"]


def test_the_manifest_of_a_bundle_with_a_tail_names_its_graph(sigmoid_bundle):
    manifest = json.loads((sigmoid_bundle[0] / "manifest.json").read_text())

    assert manifest["graphs"][contract.FINISH] == TAIL_FILE
    assert TAIL_FILE in {entry["path"] for entry in manifest["files"]}


def test_no_products_have_no_scores(sigmoid_bundle):
    """A ranking may be empty."""
    feed = {contract.PRODUCT: np.empty(0, np.float32)}

    assert open_session(sigmoid_bundle[0] / TAIL_FILE).run(None, feed)[0].shape == (0,)


def test_parity_refuses_a_bundle_whose_tail_graph_is_wrong(sigmoid_bundle, tmp_path):
    """Everything else is right, so nothing else would show it."""
    folder, users, items = sigmoid_bundle
    wrong = shutil.copytree(folder, tmp_path / "wrong")
    reference = TableReference(EmbeddingTable("u", users), EmbeddingTable("i", items), Formula(cosine=False, tail=SIGMOID))
    assert parity.check(wrong, reference)["top_k_agreement"] == 1.0

    onnx_nodes.save(wrong / TAIL_FILE, int8_graphs.tail_graph((TailStep("Tanh"),)))
    with pytest.raises(ExportRefused, match=r"parity failed.*another score than the user.*finish\.onnx"):
        parity.check(wrong, reference)
