"""`recoserve train`, from files to a verified bundle."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from recoserve.bundle import archive
from recoserve.errors import ExportRefused, FileInvalid
from recoserve_export.zoo import command

ROOT = Path(__file__).parents[3]

APP = typer.Typer()
APP.command("train")(command.train)


def train(folder: Path, out: Path | None, architecture: str, *options: str):
    files = ["--ratings", str(folder / "ratings.csv"), "--items", str(folder / "items.csv")]
    bundle = ["-o", str(out)] if out else []
    return CliRunner().invoke(APP, [*files, "--architecture", architecture, *bundle, *options])


@pytest.mark.parametrize(("architecture", "suffix"), [("keras-dot", ".keras"), ("torch-dot", ".pt")])
def test_ratings_and_items_become_a_bundle_with_ids_metadata_and_interactions(architecture, suffix, even_odd, tmp_path):
    out = tmp_path / "models/kinds/3"
    model = tmp_path / f"model{suffix}"
    result = train(even_odd, out, architecture, "--dim", "8", "--epochs", "2", "-k", "4", "--save-model", str(model))

    assert result.exit_code == 0, result.output
    bundle = archive.open_bundle(out)
    assert (
        bundle.manifest.name,
        bundle.manifest.version,
        bundle.manifest.similarity,
        bundle.manifest.users,
        bundle.manifest.items,
        bundle.manifest.dim,
    ) == ("kinds", "3", "cosine", 12, 20, 8)
    assert [bundle.users.find(100), bundle.users.find(111)] == [0, 11]
    assert bundle.item_metadata[19] == {"title": "Item 19", "kinds": ["odd", "any"]}
    assert [len(bundle.interactions.of(row)) for row in range(12)] == [8] * 12, "what was held out counts as seen, too"
    assert model.stat().st_size


def test_the_manifest_has_the_split_the_figures_the_baseline_and_the_recipe(even_odd, tmp_path):
    options = ("--epochs", "1", "-k", "4", "--holdout", "0.25", "--seed", "5")
    assert train(even_odd, tmp_path / "b", "torch-dot", *options).exit_code == 0
    metrics = json.loads((tmp_path / "b/manifest.json").read_text())["metrics"]

    assert metrics["split"] == "each user's last 25% by time held out"
    assert metrics["k"] == 4
    assert {"recall@4", "ndcg@4", "coverage@4"} == set(metrics["popularity"]) < set(metrics)
    recipe = {"dim": 64, "epochs": 1, "learning_rate": 0.01, "l2": 0.001, "temperature": 0.12, "batch_size": 64}
    assert {**recipe, "seed": 5, "similarity": "cosine"}.items() < metrics["training"].items()


def test_a_model_trained_by_dot_product_is_served_by_dot_product(even_odd, tmp_path):
    assert train(even_odd, tmp_path / "b", "torch-dot", "--epochs", "1", "--similarity", "dot").exit_code == 0

    assert archive.open_bundle(tmp_path / "b").manifest.similarity == "dot"


@pytest.mark.parametrize("architecture", ["keras-genre-mlp", "torch-two-tower", "torch-neumf"])
def test_any_other_architecture_is_served_by_its_own_score(architecture, even_odd, tmp_path):
    options = ("--epochs", "2", "-k", "4", "--dim", "3", "--genre-column", "kinds")
    result = train(even_odd, tmp_path / "b", architecture, *options)

    assert result.exit_code == 0, result.output
    manifest = archive.open_bundle(tmp_path / "b").manifest
    assert (manifest.similarity, manifest.users, manifest.items) == ("model", 12, 20)
    assert manifest.metrics["training"]["architecture"] == architecture


def test_items_without_the_genre_column_are_refused_before_training(even_odd, tmp_path):
    result = train(even_odd, tmp_path / "b", "torch-genre-mlp")

    assert isinstance(result.exception, ExportRefused)
    assert "no column 'genres'; its columns are title, kinds" in str(result.exception)


def test_only_a_dot_model_takes_a_similarity(even_odd, tmp_path):
    assert train(even_odd, tmp_path / "b", "torch-mlp", "--similarity", "dot").exit_code == 2


def test_a_folder_that_exists_is_refused_before_anything_is_read(even_odd, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/file").touch()
    (even_odd / "ratings.csv").unlink()
    result = train(even_odd, tmp_path / "b", "torch-dot")

    assert isinstance(result.exception, ExportRefused)
    assert "already exists" in str(result.exception)


def test_a_missing_ratings_file_is_an_error_of_the_file(even_odd, tmp_path):
    (even_odd / "ratings.csv").unlink()

    assert isinstance(train(even_odd, tmp_path / "b", "torch-dot").exception, FileInvalid)


def test_an_items_file_that_the_exporter_would_refuse_is_refused_before_training(even_odd, tmp_path):
    with open(even_odd / "items.csv", "a") as items:
        items.write("Unquoted, with a comma,120,odd\n")
    result = train(even_odd, tmp_path / "b", "torch-dot")

    assert isinstance(result.exception, ExportRefused)
    assert "epoch" not in result.output


@pytest.mark.parametrize(
    "options",
    [
        ("--dim", "0"),
        ("--epochs", "0"),
        ("--learning-rate", "0"),
        ("--learning-rate", "nan"),
        ("--learning-rate", "1e38"),
        ("--temperature", "-1"),
        ("--temperature", "inf"),
        ("--l2", "-0.1"),
        ("--l2", "nan"),
        ("--batch-size", "0"),
        ("--seed", "-1"),
        ("--holdout", "0"),
        ("--holdout", "1"),
        ("--k", "0"),
        ("--similarity", "model"),
        ("--name", "a/b"),
        ("--version", ""),
        ("--save-model", "model.keras"),
    ],
    ids=" ".join,
)
def test_an_option_out_of_bounds_is_wrong_usage(options, even_odd, tmp_path):
    result = train(even_odd, tmp_path / "b", "torch-dot", *options)

    assert result.exit_code == 2
    assert not (tmp_path / "b").exists()


def test_an_unknown_architecture_is_wrong_usage(even_odd, tmp_path):
    assert train(even_odd, tmp_path / "b", "jax-dot").exit_code == 2


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_importing_the_command_imports_no_framework():
    code = "import sys, recoserve_export.zoo.command; print({'torch', 'keras', 'onnx', 'onnxruntime'} & set(sys.modules))"

    assert python(code).stdout == "set()\n"


@pytest.mark.parametrize(("architecture", "missing"), [("keras-dot", "keras"), ("torch-dot", "torch"), ("torch-dot", "onnx")])
def test_a_missing_framework_is_named_with_the_way_to_install_it(architecture, missing):
    code = """
import sys
sys.modules[sys.argv[2]] = None
from recoserve_export.zoo.architectures import catalog
try:
    catalog.load_dot(sys.argv[1])
except Exception as error:
    print(type(error).__name__, error)
"""
    message = f"ExportRefused {architecture} needs {missing}, which is not installed; pip install 'recoserve[train]'\n"
    assert message == python(code, architecture, missing).stdout
