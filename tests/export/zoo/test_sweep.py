"""`recoserve train --dims`: several runs side by side, as a table, a plot and JSON, and the best of them as a bundle."""

import json
from pathlib import Path

import pytest

from recoserve.bundle import archive
from recoserve.errors import ExportRefused
from recoserve_export.zoo.data.dataset import read_dataset
from recoserve_export.zoo.training import sweep
from recoserve_export.zoo.training.recipe import Recipe
from tests.export.zoo.test_command import train

QUICK = ("--epochs", "8", "-k", "4", "--learning-rate", "0.05")


@pytest.fixture
def swept(even_odd):
    dataset = read_dataset(even_odd / "ratings.csv", even_odd / "items.csv")
    return sweep.run("torch-dot", dataset, sweep.recipes(Recipe(epochs=3, batch_size=4), [2, 8], [0.0, 0.1]), 0.25, 4)


def test_every_dimension_is_trained_with_every_weight(swept):
    assert [(run.recipe.dim, run.recipe.l2) for run in swept.runs] == [(2, 0.0), (8, 0.0), (2, 0.1), (8, 0.1)]
    assert [run.bytes for run in swept.runs] == [4 * (12 + 20) * dim for dim in (2, 8, 2, 8)]


def test_an_empty_list_leaves_the_value_of_the_recipe():
    assert sweep.recipes(Recipe(dim=5, l2=0.3), [], [0.1]) == [Recipe(dim=5, l2=0.1)]
    assert sweep.recipes(Recipe(dim=5, l2=0.3), [7], []) == [Recipe(dim=7, l2=0.3)]


def test_the_best_has_the_highest_ndcg_and_its_model_alone_is_kept(swept):
    assert max(run.metrics.ndcg for run in swept.runs) == swept.best.metrics.ndcg
    assert swept.best.model is not None
    assert {run.model for run in swept.runs} == {None}


def test_the_rules_of_thumb_are_the_root_and_half_of_n_with_a_limit(swept):
    assert swept.advice == {"users": {"sqrt(n)": 3, "min(50, n/2)": 6}, "items": {"sqrt(n)": 4, "min(50, n/2)": 10}}
    assert sweep.RULES_OF_THUMB["min(50, n/2)"](9742) == 50


def test_the_command_prints_a_row_for_each_run_the_baseline_and_the_rules(even_odd):
    result = train(even_odd, None, "torch-dot", "--dims", "2,4", "--l2s", "0,0.01", *QUICK)

    assert result.exit_code == 0, result.output
    assert all(word in result.output for word in ("dim", "l2", "seconds", "bytes", "recall@4", "NDCG@4", "popularity", "best"))
    assert "rules of thumb for n = 12 users: sqrt(n) = 3, min(50, n/2) = 6" in result.output
    assert "rules of thumb for n = 20 items: sqrt(n) = 4, min(50, n/2) = 10" in result.output


def test_the_best_run_becomes_the_bundle_and_its_manifest_lists_all_runs(even_odd, tmp_path):
    assert train(even_odd, tmp_path / "b", "torch-dot", "--dims", "2,4", *QUICK).exit_code == 0
    manifest = archive.open_bundle(tmp_path / "b").manifest

    runs = manifest.metrics["sweep"]
    assert [run["dim"] for run in runs] == [2, 4]
    assert max(run["ndcg@4"] for run in runs) == manifest.metrics["ndcg@4"]
    assert manifest.metrics["training"]["dim"] == manifest.dim


@pytest.mark.parametrize(("name", "start"), [("plot.svg", b"<?xml"), ("plot.png", b"\x89PNG")])
def test_a_plot_has_the_format_of_its_suffix(name, start, even_odd, tmp_path):
    assert train(even_odd, None, "torch-dot", "--dims", "2,4,8", "--plot", str(tmp_path / name), *QUICK).exit_code == 0

    assert (tmp_path / name).read_bytes().startswith(start)


def test_a_plot_names_its_axes_its_lines_and_the_rules(even_odd, tmp_path):
    options = ("--dims", "2,4,8", "--l2s", "0,0.1", "--plot", str(tmp_path / "plot.svg"))
    assert train(even_odd, None, "torch-dot", *options, *QUICK).exit_code == 0

    drawn = (tmp_path / "plot.svg").read_text()
    labels = ("recall@4", "NDCG@4", "training, seconds", "weights, MB", "dimension", "l2 = 0.1", "popularity", "sqrt(n) = 3, users")
    assert all(f"<!-- {text} -->" in drawn for text in labels)


def test_json_has_every_run_and_the_best(even_odd, tmp_path):
    assert train(even_odd, None, "torch-mlp", "--l2s", "0,0.1", "--json", str(tmp_path / "s.json"), *QUICK).exit_code == 0
    document = json.loads((tmp_path / "s.json").read_text())

    assert {"users": 12, "items": 20, "architecture": "torch-mlp", "k": 4}.items() < document.items()
    assert [run["l2"] for run in document["runs"]] == [0.0, 0.1]
    assert {"dim", "l2", "seconds", "bytes", "recall@4", "ndcg@4", "coverage@4"} == set(document["best"])


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--dims", ""),
        ("--dims", "8,x"),
        ("--dims", "8,8"),
        ("--dims", "0"),
        ("--dims", "8.5"),
        ("--l2s", "-1"),
        ("--l2s", "nan"),
        ("--l2s", "0,0.0"),
        ("--plot", "plot.svg"),
        ("--json", "runs.json"),
        ("--dims", "8", "--plot", "plot.gif"),
        ("--dims", "8", "--json", "runs.txt"),
        ("--dims", "8", "--save-model", "model.keras"),
    ],
    ids=" ".join,
)
def test_a_comparison_that_makes_no_sense_is_wrong_usage(options, even_odd):
    assert train(even_odd, None, "torch-dot", *options).exit_code == 2


def test_a_plot_that_could_not_be_written_is_refused_before_training(even_odd, tmp_path):
    result = train(even_odd, None, "torch-dot", "--dims", "2", "--plot", str(tmp_path / "nowhere/plot.svg"))

    assert isinstance(result.exception, ExportRefused)
    assert "epoch" not in result.output


def test_without_matplotlib_a_plot_is_refused_before_training(even_odd: Path, tmp_path: Path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = train(even_odd, None, "torch-dot", "--dims", "2", "--plot", str(tmp_path / "plot.svg"))

    assert isinstance(result.exception, ExportRefused)
    assert "matplotlib" in str(result.exception)
