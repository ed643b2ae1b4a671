"""`recoserve export`, the command, and what importing the package costs."""

import subprocess
import sys

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from recoserve.bundle.archive import open_bundle
from recoserve.errors import ExportRefused
from recoserve_export.cli import export


@pytest.fixture
def recoserve():
    """Run the command as the program does, which turns refusals into a message and exit code 1."""
    app = typer.Typer()
    app.command("export")(export)
    app.callback()(lambda: None)
    return lambda *arguments: CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture
def files(vectors, tmp_path):
    paths = [tmp_path / "users.npy", tmp_path / "items.npy"]
    for path, table in zip(paths, vectors, strict=True):
        np.save(path, table)
    return paths


def test_two_tables_become_a_bundle_and_a_report(recoserve, files, target):
    """The report has the pairs compared, the largest difference and the agreement."""
    process = recoserve("--user-embeddings", files[0], "--item-embeddings", files[1], "-o", target, "--similarity", "dot")

    assert process.exit_code == 0, process.output
    assert "2400 pairs compared" in process.output
    assert open_bundle(target).manifest.similarity == "dot"


@pytest.mark.parametrize("arguments", [[], ["--user-embeddings", "u.npy"], ["m.keras", "--item-embeddings", "v.npy"]])
def test_a_source_is_either_a_model_or_two_tables(arguments, recoserve, target):
    """Neither, one table, or both kinds are wrong usage: exit code 2."""
    assert recoserve(*arguments, "-o", target).exit_code == 2


def test_a_refusal_reaches_the_program_as_its_own_error(recoserve, target):
    """No traceback for a user's mistake: the program prints the message."""
    assert isinstance(recoserve("absent.keras", "-o", target).exception, ExportRefused)


def test_importing_the_package_imports_no_framework():
    """`recoserve --help` must not wait for torch."""
    heavy = "{'torch', 'keras', 'onnx', 'onnxruntime', 'safetensors'}"
    script = f"import sys, recoserve_export.cli; print(sorted({heavy} & set(sys.modules)))"

    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert process.stdout.strip() == "[]"
