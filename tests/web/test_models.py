"""Several models in one service: a request picks one by name, and is answered as if that model were the only one."""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys

import httpx
import numpy as np
import pytest

from recoserve.scheduling.loader import load_model
from recoserve_export import export_model
from tests.bundles import make_bundle, reseal
from tests.command_line import assert_mistake, recoserve
from tests.server import serving
from tests.web.http import Application, assert_problem, item_ids

READERS, BOOKS = 40, 60


@pytest.fixture(scope="module")
def tables():
    generator = np.random.default_rng(5)
    return generator.normal(size=(READERS, 5)).astype(np.float32), generator.normal(size=(BOOKS, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def repository(tables, tmp_path_factory):
    """`evens`, whose ids are rows, and `books` with string ids, in two versions."""
    folder = tmp_path_factory.mktemp("repository")
    make_bundle(folder / "evens" / "3")
    ids = {"user_ids": [f"reader-{row}" for row in range(READERS)], "item_ids": [f"book-{row}" for row in range(BOOKS)]}
    for version in ("1", "2"):
        export_model(tables, folder / "books" / version, **ids)
    return folder


@pytest.fixture(scope="module")
def server(repository):
    """The real command, with the default model chosen."""
    with serving(repository, "--default-model", "evens") as running:
        yield running


def best_books(tables, reader, k):
    """The expected ids: by cosine in float64, equals in row order."""
    users, items = (table.astype(np.float64) / np.linalg.norm(table, axis=1, keepdims=True) for table in tables)
    return [f"book-{row}" for row in np.argsort(-(users[reader] @ items.T), kind="stable")[:k]]


def test_a_request_picks_its_model_by_name(server, tables):
    """If it names none, or null, the default model answers; `model` in the answer says which one did."""
    books = server.recommend(user_id="reader-7", k=5, model="books")

    assert item_ids(books) == best_books(tables, 7, 5)
    assert books.json()["model"] == {"name": "books", "version": "2"}
    for field in ({}, {"model": None}, {"model": "evens"}):
        answer = server.recommend(user_id=0, k=3, **field)
        assert item_ids(answer) == [0, 2, 4]
        assert answer.json()["model"] == {"name": "evens", "version": "3"}


def test_ids_are_checked_against_the_model_that_answers(server):
    """A model of string ids refuses a row number and a model of rows a string; ranges are each model's own."""
    assert_problem(server.recommend(user_id=0, model="books"), 422, "invalid-request", "/user_id")
    assert_problem(server.recommend(user_id="reader-0"), 422, "invalid-request", "/user_id")
    assert_problem(server.recommend(user_id="reader-40", model="books"), 422, "unknown-id", "/user_id")
    outside = assert_problem(server.recommend(user_id=6), 422, "id-out-of-range", "/user_id")
    assert outside["detail"] == "user_id must be in [0, 5]"
    listed = server.recommend(user_id="reader-0", model="books", exclude_item_ids=["book-1", 3])
    assert_problem(listed, 422, "invalid-request", "/exclude_item_ids/1")


@pytest.mark.parametrize("name", ["films", "Books", "evens/3", "../evens", "<script>", "\x00", "evens "])
def test_a_model_that_is_not_served_is_a_404_that_names_those_that_are(server, name):
    """The name is checked before the ids, and not repeated."""
    document = assert_problem(server.recommend(user_id="whoever", model=name), 404, "unknown-model", "/model")

    assert document["detail"] == "model must be one of evens, books"
    assert name not in document["detail"].split()


@pytest.mark.parametrize("name", ['""', "7", "true", "[]", '["books"]', "{}", '"' + "x" * 129 + '"'])
def test_a_model_field_that_can_be_no_name_is_a_422(server, name):
    body = f'{{"user_id": 0, "model": {name}}}'
    response = httpx.post(server.url + "/recommend", content=body, headers={"Content-Type": "application/json"})

    assert_problem(response, 422, "invalid-request", "/model")


def test_each_model_is_described_and_all_are_listed(server):
    """The default one first, then by name."""
    names = [{"name": "evens", "version": "3"}, {"name": "books", "version": "2"}]
    evens, books = server.get("/model").json(), server.get("/model?model=books").json()

    assert (evens["name"], evens["users"]["type"], evens["items"]["count"], evens["metadata"]) == ("evens", "row", 8, True)
    assert (books["name"], books["users"]["type"], books["items"]["count"], books["metadata"]) == ("books", "string", BOOKS, False)
    assert evens["models"] == books["models"] == names
    assert evens == server.get("/model?model=evens").json()
    for name in ("films", "", "x" * 500, "%00"):
        assert_problem(server.get(f"/model?model={name}"), 404, "unknown-model", "/model")


def test_the_model_parameter_is_documented_without_a_422(server):
    """FastAPI would document its own 422 for it, which never occurs: a name that isn't served is a 404."""
    operation = server.get("/openapi.json").json()["paths"]["/model"]["get"]

    (parameter,) = operation["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("model", "query", False)
    assert {"200", "404", "500", "503"} == set(operation["responses"])


def test_health_names_the_default_model_and_the_metrics_name_each(server):
    info = [line for line in server.get("/metrics").text.splitlines() if line.startswith("recoserve_model_info{")]

    assert server.get("/health").json() == {"status": "ready", "model": {"name": "evens", "version": "3"}}
    for name, version in (("evens", "3"), ("books", "2")):
        assert f'recoserve_model_info{{name="{name}",provider="cpu",similarity="cosine",version="{version}"}} 1.0' in info
    assert len(info) == 2


def test_requests_in_flight_to_both_models_are_answered_as_one_after_another(server, tables):
    """Randomised: no answer comes from the other model, nor from another request in the batch."""
    generator = random.Random(11)
    users = {"evens": lambda: generator.randrange(6), "books": lambda: f"reader-{generator.randrange(READERS)}"}
    names = generator.choices(["evens", "books"], k=400)
    bodies = [{"model": name, "user_id": users[name](), "k": generator.randint(1, 8)} for name in names]
    with httpx.Client(timeout=30) as client:
        one_by_one = {json.dumps(body): client.post(server.url + "/recommend", json=body).json() for body in bodies}

    async def together():
        async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=64)) as client:
            return await asyncio.gather(*(client.post(server.url + "/recommend", json=body) for body in bodies))

    for body, answer in zip(bodies, asyncio.run(together()), strict=True):
        assert answer.json() == one_by_one[json.dumps(body)]
        assert answer.json()["model"]["name"] == body["model"]
        if body["model"] == "books":
            assert item_ids(answer) == best_books(tables, int(body["user_id"][7:]), body["k"])


def test_a_batch_holds_queries_of_one_model(repository):
    """Requests for two models that arrive together are ranked in different runs, whatever their order."""
    models = [load_model(repository / "evens" / "3"), load_model(repository / "books" / "2")]
    runs = []

    def recording_runs(model):
        rank = model.rank

        def record_and_rank(queries):
            runs.append((model.manifest.name, len(queries)))
            return rank(queries)

        model.rank = record_and_rank
        return model

    with Application(*(lambda model=model: recording_runs(model) for model in models)) as application:
        bodies = [{"user_id": 1}, {"user_id": "reader-1", "model": "books"}] * 10
        answers = application.wait_ready().together(*bodies)

    assert [answer.json()["model"]["name"] for answer in answers] == ["evens", "books"] * 10
    assert {model: sum(rows for name, rows in runs if name == model) for model in ("evens", "books")} == {"evens": 10, "books": 10}
    assert len(runs) < 20


def test_if_no_default_is_set_the_first_name_is_the_default_and_the_log_says_so(repository):
    with serving(repository) as server:
        assert server.get("/model").json()["name"] == "books"
        assert server.stop() == 0

    (line,) = [record for record in server.log if "default model" in record["message"]]
    assert "the default model is books (the first in alphabetical order; --default-model" in line["message"]
    assert "also served: evens 3" in line["message"]


def test_an_environment_variable_sets_the_default_too(repository):
    with serving(repository, RECOSERVE_DEFAULT_MODEL="evens") as server:
        assert server.get("/model").json()["name"] == "evens"


def test_the_demo_serves_its_own_model_whatever_default_the_environment_names():
    command = [sys.executable, "-m", "recoserve", "demo", "--port", "0"]
    environment = {**os.environ, "RECOSERVE_DEFAULT_MODEL": "evens"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert "serving" in line and "model=library" in line
    assert process.returncode == 0


@pytest.mark.parametrize("name", ["films", ""])
def test_a_default_that_is_not_in_the_folder_is_an_error_at_start_that_lists_the_names(repository, name):
    assert_mistake(recoserve("serve", repository, "--port", 0, "--default-model", name), "no such model", "books, evens")


def test_a_default_is_checked_for_a_single_bundle_too(bundle):
    assert_mistake(recoserve("serve", bundle, "--port", 0, "--default-model", "books"), "default model books", "one of evens")


def test_two_models_of_one_name_are_an_error_at_start(repository, tmp_path):
    for folder in ("first", "second"):
        shutil.copytree(repository / "evens" / "3", tmp_path / folder / "3")

    assert_mistake(
        recoserve("serve", tmp_path, "--port", 0), f"{tmp_path}/first/3 and {tmp_path}/second/3", "the name evens", "--name"
    )


def test_one_broken_bundle_is_an_error_at_start_that_names_it(repository, tmp_path):
    """A service serves all its models or none: the sound one beside it isn't served either."""
    shutil.copytree(repository / "books", tmp_path / "books")
    broken = shutil.copytree(repository / "evens" / "3", tmp_path / "evens" / "3")
    (broken / "golden.npz").unlink()

    process = recoserve("serve", tmp_path, "--port", 0)
    assert process.returncode == 1
    assert f"{broken}: golden.npz: missing" in process.stderr and "Traceback" not in process.stderr
    assert '"serving"' not in process.stderr


def test_a_folder_of_twelve_models_is_served_with_all_of_them(bundle, tmp_path):
    """The same tables under twelve names; each is loaded, and each answers."""
    for number in range(12):
        reseal(shutil.copytree(bundle, tmp_path / f"m{number}" / "1"), name=f"m{number}", version="1")

    with serving(tmp_path) as server:
        assert len(server.get("/model").json()["models"]) == 12
        assert [item_ids(server.recommend(user_id=0, k=2, model=f"m{number}")) for number in range(12)] == [[0, 2]] * 12
