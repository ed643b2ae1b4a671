"""Several models in one service: picked by name, ids judged by the one that answers, each answering as if it were alone."""

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
def shelf(tables, tmp_path_factory):
    """`evens`, whose ids are rows, and `books` with string ids, in two versions."""
    folder = tmp_path_factory.mktemp("shelf")
    make_bundle(folder / "evens" / "3")
    ids = {"user_ids": [f"reader-{row}" for row in range(READERS)], "item_ids": [f"book-{row}" for row in range(BOOKS)]}
    for version in ("1", "2"):
        export_model(tables, folder / "books" / version, **ids)
    return folder


@pytest.fixture(scope="module")
def server(shelf):
    """The real command, with the default model chosen."""
    with serving(shelf, "--default-model", "evens") as running:
        yield running


def best_books(tables, reader, k):
    """The oracle: cosine in float64, ties by row."""
    users, items = (table.astype(np.float64) / np.linalg.norm(table, axis=1, keepdims=True) for table in tables)
    return [f"book-{row}" for row in np.argsort(-(users[reader] @ items.T), kind="stable")[:k]]


def test_a_request_picks_its_model_by_name(server, tables):
    """Left out or null, the default one answers; `model` in the answer says which did."""
    books = server.recommend(user_id="reader-7", k=5, model="books")

    assert item_ids(books) == best_books(tables, 7, 5)
    assert books.json()["model"] == {"name": "books", "version": "2"}
    for named in ({}, {"model": None}, {"model": "evens"}):
        answer = server.recommend(user_id=0, k=3, **named)
        assert item_ids(answer) == [0, 2, 4]
        assert answer.json()["model"] == {"name": "evens", "version": "3"}


def test_ids_are_judged_by_the_model_that_answers(server):
    """A row number is nothing to a model of string ids, and the other way round; ranges and lists are each model's own."""
    assert_problem(server.recommend(user_id=0, model="books"), 422, "invalid-request", "/user_id")
    assert_problem(server.recommend(user_id="reader-0"), 422, "invalid-request", "/user_id")
    assert_problem(server.recommend(user_id="reader-40", model="books"), 422, "unknown-id", "/user_id")
    outside = assert_problem(server.recommend(user_id=6), 422, "id-out-of-range", "/user_id")
    assert outside["detail"] == "user_id must be in [0, 5]"
    listed = server.recommend(user_id="reader-0", model="books", exclude_item_ids=["book-1", 3])
    assert_problem(listed, 422, "invalid-request", "/exclude_item_ids/1")


@pytest.mark.parametrize("name", ["films", "Books", "evens/3", "../evens", "<script>", "\x00", "evens "])
def test_a_model_that_is_not_served_is_a_404_that_names_those_that_are(server, name):
    """Judged ahead of the ids, and never told back."""
    document = assert_problem(server.recommend(user_id="whoever", model=name), 404, "unknown-model", "/model")

    assert document["detail"] == "model must be one of evens, books"
    assert name not in document["detail"].split()


@pytest.mark.parametrize("name", ['""', "7", "true", "[]", '["books"]', "{}", '"' + "x" * 129 + '"'])
def test_what_can_be_no_name_is_refused(server, name):
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


def test_the_name_is_a_documented_parameter_without_an_answer_that_never_comes(server):
    """FastAPI's own 422 would echo what was asked; a name that isn't served is a 404."""
    operation = server.get("/openapi.json").json()["paths"]["/model"]["get"]

    assert [(one["name"], one["in"], one["required"]) for one in operation["parameters"]] == [("model", "query", False)]
    assert {"200", "404", "500", "503"} == set(operation["responses"])


def test_health_names_the_default_model_and_the_metrics_know_each(server):
    info = [line for line in server.get("/metrics").text.splitlines() if line.startswith("recoserve_model_info{")]

    assert server.get("/health").json() == {"status": "ready", "model": {"name": "evens", "version": "3"}}
    for name, version in (("evens", "3"), ("books", "2")):
        assert f'recoserve_model_info{{name="{name}",provider="cpu",similarity="cosine",version="{version}"}} 1.0' in info
    assert len(info) == 2


def test_requests_in_flight_to_both_models_are_answered_as_if_each_were_alone(server, tables):
    """Randomised; no answer comes from the other model, nor from a neighbour in the batch."""
    generator = random.Random(11)
    users = {"evens": lambda: generator.randrange(6), "books": lambda: f"reader-{generator.randrange(READERS)}"}
    names = generator.choices(["evens", "books"], k=400)
    bodies = [{"model": name, "user_id": users[name](), "k": generator.randint(1, 8)} for name in names]
    with httpx.Client(timeout=30) as client:
        alone = {json.dumps(body): client.post(server.url + "/recommend", json=body).json() for body in bodies}

    async def together():
        async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=64)) as client:
            return await asyncio.gather(*(client.post(server.url + "/recommend", json=body) for body in bodies))

    for body, answer in zip(bodies, asyncio.run(together()), strict=True):
        assert answer.json() == alone[json.dumps(body)]
        assert answer.json()["model"]["name"] == body["model"]
        if body["model"] == "books":
            assert item_ids(answer) == best_books(tables, int(body["user_id"][7:]), body["k"])


def test_a_batch_holds_queries_of_one_model(shelf):
    """What arrives together for two models runs apart, whatever the order of arrival."""
    models = [load_model(shelf / "evens" / "3"), load_model(shelf / "books" / "2")]
    ran = []

    def watched(model):
        rank = model.rank

        def ranked(queries):
            ran.append((model.manifest.name, len(queries)))
            return rank(queries)

        model.rank = ranked
        return model

    with Application(*(lambda model=model: watched(model) for model in models)) as application:
        asked = [{"user_id": 1}, {"user_id": "reader-1", "model": "books"}] * 10
        answers = application.wait_ready().together(*asked)

    assert [answer.json()["model"]["name"] for answer in answers] == ["evens", "books"] * 10
    assert {name: sum(rows for one, rows in ran if one == name) for name in ("evens", "books")} == {"evens": 10, "books": 10}
    assert len(ran) < 20


def test_the_first_name_is_the_default_where_none_is_set_and_the_log_says_so(shelf):
    with serving(shelf) as server:
        assert server.get("/model").json()["name"] == "books"
        assert server.stop() == 0

    (line,) = [record for record in server.log if "default model" in record["message"]]
    assert "the default model is books (the first in alphabetical order; --default-model" in line["message"]
    assert "also served: evens 3" in line["message"]


def test_the_default_is_a_setting_of_the_environment_too(shelf):
    with serving(shelf, RECOSERVE_DEFAULT_MODEL="evens") as server:
        assert server.get("/model").json()["name"] == "evens"


def test_the_demo_is_its_own_default_whatever_the_environment_names():
    command = [sys.executable, "-m", "recoserve", "demo", "--port", "0"]
    environment = {**os.environ, "RECOSERVE_DEFAULT_MODEL": "evens"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert "serving" in line and "model=library" in line
    assert process.returncode == 0


@pytest.mark.parametrize("name", ["films", ""])
def test_a_default_that_is_not_there_ends_the_start_with_the_names(shelf, name):
    assert_mistake(recoserve("serve", shelf, "--port", 0, "--default-model", name), "no such model", "books, evens")


def test_a_default_is_checked_for_a_lone_bundle_too(bundle):
    assert_mistake(recoserve("serve", bundle, "--port", 0, "--default-model", "books"), "default model books", "one of evens")


def test_two_models_of_one_name_end_the_start(shelf, tmp_path):
    for place in ("first", "second"):
        shutil.copytree(shelf / "evens" / "3", tmp_path / place / "3")

    assert_mistake(
        recoserve("serve", tmp_path, "--port", 0), f"{tmp_path}/first/3 and {tmp_path}/second/3", "the name evens", "--name"
    )


def test_one_broken_bundle_ends_the_start_and_is_named(shelf, tmp_path):
    """Nothing is served half: the whole one beside it isn't either."""
    shutil.copytree(shelf / "books", tmp_path / "books")
    broken = shutil.copytree(shelf / "evens" / "3", tmp_path / "evens" / "3")
    (broken / "golden.npz").unlink()

    done = recoserve("serve", tmp_path, "--port", 0)
    assert done.returncode == 1
    assert f"{broken}: golden.npz: missing" in done.stderr and "Traceback" not in done.stderr
    assert '"serving"' not in done.stderr


def test_models_of_many_names_are_all_served(bundle, tmp_path):
    """Bundles are their own: the same tables under twelve names, each loaded and each answering."""
    for number in range(12):
        reseal(shutil.copytree(bundle, tmp_path / f"m{number}" / "1"), name=f"m{number}", version="1")

    with serving(tmp_path) as server:
        assert len(server.get("/model").json()["models"]) == 12
        assert [item_ids(server.recommend(user_id=0, k=2, model=f"m{number}")) for number in range(12)] == [[0, 2]] * 12
