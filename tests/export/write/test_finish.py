"""finish.onnx: the tail of a score alone, for whoever has found the products by other means."""

import json
import shutil

import numpy as np
import onnxruntime
import pytest

from recoserve.bundle import contract
from recoserve.errors import ExportRefused
from recoserve_export import export_model
from recoserve_export.graph.dot_score import Formula, Table
from recoserve_export.graph.monotone_tail import SIGMOID, Step
from recoserve_export.verify import parity
from recoserve_export.verify.reference import TableReference
from recoserve_export.write import dot_graphs, int8_index, tensors
from tests.export.models import random_tables, torch_model

FINISH = contract.FINISH_GRAPHS[contract.FINISH]
TAILS = [
    SIGMOID,
    (Step("Mul", 0.3), Step("Add", -1.5), *SIGMOID, Step("Mul", 5.0)),
    (Step("Tanh"),),
    (Step("Exp"),),
    (Step("Add", 2.0),),
]


def opened(path):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "1")
    return onnxruntime.InferenceSession(path, options)


@pytest.fixture(scope="module")
def sigmoid(tmp_path_factory):
    """A bundle of a model that ends in a sigmoid, and its tables."""
    users, items = random_tables(30, 50)
    model = torch_model(users, items, lambda _, u, v: (u * v).sum(-1).sigmoid())
    target = tmp_path_factory.mktemp("finish") / "bundle"
    export_model(model, target, similarity="model")
    return target, users, items


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("tail", TAILS, ids=lambda tail: "-".join(step.operator for step in tail))
def test_a_product_has_the_score_that_rescoring_gives_it(tail, cosine, tmp_path):
    """Bit for bit, of products large and small."""
    tables = [Table("t", table) for table in random_tables(20, 1000, scale=2.0)]
    formula = Formula(cosine, tail)
    spans = tensors.write(tmp_path / contract.TENSORS, *tables, formula)
    int8_index.write(tmp_path, *spans, tables[1], formula)
    pairs = np.arange(20).repeat(32), np.tile(np.arange(32), 20)
    feed = {contract.QUERY: tables[0].values, contract.QUERY_ROW: pairs[0], contract.BLOCK_ROW: pairs[1]}

    products, scores = opened(tmp_path / "rescore.onnx").run([contract.PRODUCT, contract.SCORE_OUT], feed)
    (found,) = opened(tmp_path / FINISH).run(None, {contract.PRODUCT: products.reshape(-1)})
    assert scores.reshape(-1).tobytes() == found.tobytes()
    assert len(np.unique(found)) > 5_000


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_a_score_without_a_tail_has_no_such_graph(similarity, sigmoid, tmp_path):
    """Of tables, nor of a model whose sigmoid isn't served."""
    _, users, items = sigmoid
    model = torch_model(users, items, lambda _, u, v: (u * v).sum(-1).sigmoid())
    for source, name in (((users, items), "tables"), (model, "model")):
        export_model(source, tmp_path / name, similarity=similarity)

        assert not (tmp_path / name / FINISH).exists()
        assert contract.FINISH not in json.loads((tmp_path / name / "manifest.json").read_text())["graphs"]


def test_a_bundle_with_a_tail_names_its_graph(sigmoid):
    manifest = json.loads((sigmoid[0] / "manifest.json").read_text())

    assert manifest["graphs"][contract.FINISH] == FINISH
    assert FINISH in {entry["path"] for entry in manifest["files"]}


def test_no_products_have_no_scores(sigmoid):
    """An answer may be empty."""
    assert opened(sigmoid[0] / FINISH).run(None, {contract.PRODUCT: np.empty(0, np.float32)})[0].shape == (0,)


def test_the_gate_runs_it_and_refuses_a_wrong_one(sigmoid, tmp_path):
    """Everything else is right, so nothing else would show it."""
    folder, users, items = sigmoid
    wrong = shutil.copytree(folder, tmp_path / "wrong")
    reference = TableReference(Table("u", users), Table("i", items), Formula(cosine=False, tail=SIGMOID))
    assert parity.check(wrong, reference)["top_k_agreement"] == 1.0

    dot_graphs.save(wrong / FINISH, int8_index._finish(Formula(cosine=False, tail=(Step("Tanh"),))))
    with pytest.raises(ExportRefused, match=r"parity failed.*otherwise.*finish\.onnx"):
        parity.check(wrong, reference)
