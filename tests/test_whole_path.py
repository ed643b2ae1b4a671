"""From ratings to responses as a user goes: train, save, export, serve; compared with float64 over the framework's own tables."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

from recoserve.bundle.archive import open_bundle
from tests import movielens
from tests.server import serving

K, USERS = 10, 100
TIE = 2e-6  # float32 rounding of a cosine; items whose scores are closer than this may come in either order

DATASETS = [
    "library",
    pytest.param("movielens", marks=pytest.mark.skipif(not movielens.HERE, reason=movielens.ABSENT)),
]

# The tables as the framework itself reads them from its own file, in a process that loads nothing else.
READ_TABLES = {
    "keras-dot": """
import os, sys; os.environ["KERAS_BACKEND"] = "torch"
import keras, numpy
model = keras.saving.load_model(sys.argv[1])
tables = {("user" if "user" in layer.name else "item"): layer.get_weights()[0] for layer in model.layers if layer.get_weights()}
numpy.savez(sys.argv[2], **tables)
""",
    "torch-dot": """
import sys, numpy, torch
state = torch.load(sys.argv[1], weights_only=True)
numpy.savez(sys.argv[2], user=state["user_embedding.weight"].numpy(), item=state["item_embedding.weight"].numpy())
""",
}
SUFFIX = {"keras-dot": "model.keras", "torch-dot": "model.pt"}


def python(*arguments):
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(dataset, folder):
    if dataset == "movielens":
        return movielens.FOLDER / "ratings.csv", movielens.FOLDER / "movies.csv"
    python("-m", "recoserve.demo.library", folder / "library")
    return folder / "library" / "ratings.csv", folder / "library" / "books.csv"


@pytest.fixture(scope="module", params=DATASETS)
def dataset(request):
    return request.param


@pytest.fixture(scope="module", params=["keras-dot", "torch-dot"])
def trained(request, dataset, tmp_path_factory):
    """A bundle trained with default options, and the framework's own unit vectors in float64."""
    folder, architecture = tmp_path_factory.mktemp("trained"), request.param
    ratings, items = files(dataset, folder)
    bundle, model = folder / "models" / dataset / "1", folder / SUFFIX[architecture]
    options = ["--architecture", architecture, "-o", bundle, "--save-model", model]
    python("-m", "recoserve", "train", "--ratings", ratings, "--items", items, *options)
    python("-c", READ_TABLES[architecture], model, folder / "tables.npz")
    with np.load(folder / "tables.npz") as tables:
        unit = {
            side: table / np.linalg.norm(table, axis=1, keepdims=True)
            for side, table in ((side, tables[side].astype(np.float64)) for side in ("user", "item"))
        }
    return SimpleNamespace(folder=bundle, models=folder / "models", scores=unit["user"] @ unit["item"].T)


def assert_best(expected, rows, scores):
    """`rows` are the best of `expected` float64 [N] (excluded items at -inf), in order, ties aside."""
    best = np.sort(expected)[::-1][: len(rows)]

    assert len(set(rows)) == len(rows)
    np.testing.assert_allclose(expected[rows], best, rtol=0, atol=TIE)
    np.testing.assert_allclose(scores, best, rtol=0, atol=TIE)


def test_the_model_beats_popularity_by_three_tenths(trained, dataset):
    """Recall@10 and NDCG@10 on the same held-out split, as the manifest has them."""
    metrics = json.loads((trained.folder / "manifest.json").read_text())["metrics"]

    for name in ("recall@10", "ndcg@10"):
        assert metrics[name] >= 1.3 * metrics["popularity"][name], (dataset, name)


def test_the_service_answers_as_a_brute_force_over_the_frameworks_tables(trained):
    """For 100 users, with and without what they have seen."""
    bundle = open_bundle(trained.folder)
    users = np.linspace(0, len(bundle.users) - 1, USERS).astype(int)
    with serving(trained.models) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        for row in users:
            (user_id,) = bundle.users.external([row])
            for exclude_seen in (False, True):
                body = {"user_id": user_id, "k": K, "exclude_seen": exclude_seen, "include": ["metadata"]}
                items = client.post("/recommend", json=body).raise_for_status().json()["items"]
                allowed = trained.scores[row].copy()
                if exclude_seen:
                    allowed[bundle.interactions.of(row)] = -np.inf
                rows = [bundle.items.find(item["item_id"]) for item in items]
                assert len(rows) == K and all(item["metadata"]["title"] for item in items)
                assert_best(allowed, rows, [item["score"] for item in items])


def test_model_onnx_stands_alone(trained, tmp_path):
    """The program of docs/bundle-format.md, with nothing but onnxruntime and numpy, equals the same brute force."""
    page = (Path(__file__).parents[1] / "docs" / "bundle-format.md").read_text()
    program = page.split("```python", 1)[1].split("```", 1)[0]
    assert len([line for line in program.splitlines() if line.strip()]) <= 10
    users = len(trained.scores)
    (tmp_path / "alone.py").write_text(program)
    command = [sys.executable, "-P", tmp_path / "alone.py", trained.folder / "model.onnx", str(users)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""})

    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["refused"] for answer in answers[users:]] == [-1, users]
    for row, answer in enumerate(answers[:users]):
        assert_best(trained.scores[row], answer["item_id"], answer["score"])
