"""A project that has folders called like this repository's: none of them is ever imported in place of ours."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.command_line import with_path

FOLDERS = ["benchmarks", "deploy", "docs", "model_export", "service", "tests"]
PROGRAM = Path(sys.executable).parent / "recoserve"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder of somebody else's packages, each of which raises when it is imported, and two small tables."""
    folder = tmp_path_factory.mktemp("project")
    for name in FOLDERS:
        (folder / name).mkdir()
        for module in ("__init__", "client", "cli", "metrics", "settings"):
            (folder / name / f"{module}.py").write_text(f"raise RuntimeError('imported {name}/{module}.py of the project')\n")
    rng = np.random.default_rng(0)
    np.save(folder / "users.npy", rng.standard_normal((5, 3), np.float32))
    np.save(folder / "items.npy", rng.standard_normal((7, 3), np.float32))
    return folder


@pytest.fixture(params=["recoserve", "python -m recoserve", "PYTHONPATH=. recoserve"])
def recoserve(request, project):
    """`recoserve(…)` starts the program in the project's folder: by its script, as a module, or with the folder on the path."""
    command = [sys.executable, "-m", "recoserve"] if "-m" in request.param else [str(PROGRAM)]
    path = with_path(".") if "PYTHONPATH" in request.param else {}
    environment = {**os.environ, **path, "RECOSERVE_DRAIN_SECONDS": "0"}

    def start(*arguments):
        line = [*command, *map(str, arguments)]
        return subprocess.Popen(
            line, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )

    return start


def finished(process):
    """The process's standard output; an AssertionError with its standard error where it fails."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


def test_the_help_is_shown(recoserve):
    assert "export" in finished(recoserve("--help"))


def test_the_demo_answers_and_stops(recoserve):
    process = recoserve("demo", "--port", 0)
    try:
        url = next(address[0] for line in process.stdout if (address := re.search(r"http://[\d.]+:\d+", line)))
        response = httpx.post(url + "/recommend", json={"user_id": 42, "k": 3}, timeout=30)
        assert len(response.json()["items"]) == 3
        process.send_signal(signal.SIGINT)
        finished(process)
    finally:
        process.kill()


def test_two_tables_are_exported_and_recommended_from(recoserve, tmp_path):
    tables = ["--user-embeddings", "users.npy", "--item-embeddings", "items.npy"]
    finished(recoserve("export", *tables, "-o", tmp_path / "bundle"))

    response = json.loads(finished(recoserve("recommend", tmp_path / "bundle", "--user", 0, "-k", 2, "--json")))
    assert len(response["items"]) == 2


@pytest.mark.parametrize("path", [{}, with_path(".")], ids=["", "PYTHONPATH=."])
@pytest.mark.parametrize(
    "line", ["from recoserve import AsyncClient, Client, __version__", "from recoserve_export import export_model"]
)
def test_the_public_names_are_imported(project, path, line):
    environment = {**os.environ, **path}
    process = subprocess.run([sys.executable, "-c", line], cwd=project, env=environment, capture_output=True, text=True, timeout=60)

    assert (process.returncode, process.stderr) == (0, "")
