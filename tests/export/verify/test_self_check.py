"""What a bundle's graphs must hold without the model, and the program that checks it."""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest

from recoserve.bundle import contract
from recoserve_export import export_model
from recoserve_export.verify.bundle_graphs import BundleGraphs
from recoserve_export.verify.self_check import self_check
from tests.export.models import random_tables


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    target = tmp_path_factory.mktemp("self_check") / "bundle"
    export_model(random_tables(30, 500), target)
    return target


def replace_graph(folder, name, change):
    """Change one graph of the folder, in place."""
    model = onnx.load(folder / name, load_external_data=False)
    change(model.graph)
    (folder / name).write_bytes(model.SerializeToString())


def test_the_gate_runs_as_a_program_over_any_bundle(exported):
    """It prints as JSON whether the golden sample is reproduced and rows outside the tables are refused."""
    process = subprocess.run(
        [sys.executable, "-m", "recoserve_export.verify.parity", exported], capture_output=True, text=True, check=True
    )

    report = json.loads(process.stdout)
    assert (report["passed"], report["top_k_agreement"], report["unguarded"]) == (True, 1.0, [])
    assert process.stderr == ""


def test_a_graph_that_accepts_rows_outside_the_table_is_named(exported, tmp_path):
    """Without its Reshape, Gather takes -1 for the last row."""
    folder = shutil.copytree(exported, tmp_path / "unguarded")

    def bypass_guard(graph):
        guard = next(node for node in graph.node if "item_id_checked" in node.output)
        guard.CopyFrom(onnx.helper.make_node("Identity", [contract.ITEM_ID], ["item_id_checked"]))

    replace_graph(folder, "score.onnx", bypass_guard)
    check = self_check(folder, BundleGraphs(folder))

    assert check.golden_agrees
    assert not check.passed
    assert check.unguarded_inputs == ["item_id of score.onnx"]


def test_a_graph_that_scores_users_vectors_in_another_way_is_named(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "inconsistent")

    def double_products(graph):
        gemm = next(node for node in graph.node if node.op_type == "Gemm")
        gemm.attribute.append(onnx.helper.make_attribute("alpha", 2.0))

    replace_graph(folder, "score_query.onnx", double_products)
    check = self_check(folder, BundleGraphs(folder))

    assert check.golden_agrees
    assert check.inconsistent_graphs == ["score_query.onnx"]


def test_a_golden_sample_of_another_model_is_a_difference(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "other")
    with np.load(folder / contract.GOLDEN) as arrays:
        golden = dict(arrays)
    golden["sample_score"] = golden["sample_score"] + 0.01
    np.savez(folder / contract.GOLDEN, **golden)
    check = self_check(folder, BundleGraphs(folder))

    assert not check.passed
    assert check.largest_difference == pytest.approx(0.01, rel=1e-3)
