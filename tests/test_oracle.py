"""Every endpoint responds as a brute force in float64 does, whatever options a request mixes: on MovieLens where it is at hand."""

import pytest

from recoserve.scheduling.loader import load_model
from recoserve_bench.oracle.run import run
from tests import movielens
from tests.oracle import bundles
from tests.oracle.compare import findings
from tests.oracle.requests import Requests
from tests.oracle.world import MAX_K, MAX_LIST_IDS
from tests.searches import SEARCHES, searches_by, searching_by
from tests.web.http import Application

NAMES = ["keras-dot", "torch-cosine", "torch-dot", "torch-biased", "torch-mlp", "bare", "padded-dot"]
REQUESTS = 80  # to a bundle, for each retrieval path


@pytest.fixture(scope="module")
def oracle_bundles(tmp_path_factory):
    """Bundles with metadata and interactions, and one without."""
    source = movielens.FOLDER if movielens.HERE else bundles.stand_in(tmp_path_factory.mktemp("source"))
    return bundles.make(tmp_path_factory.mktemp("oracle"), NAMES, source=source)


@pytest.fixture(scope="module")
def worlds(oracle_bundles):
    return {bundle.world.name: bundle.world for bundle in oracle_bundles}


@pytest.fixture(scope="module", params=SEARCHES)
def search(request):
    return request.param


@pytest.fixture(scope="module")
def service(oracle_bundles, search):
    with searching_by(search) as retrieval:
        loaders = [lambda path=bundle.path: load_model(path, retrieval=retrieval) for bundle in oracle_bundles]
        with Application(*loaders, max_k=MAX_K, max_list_ids=MAX_LIST_IDS) as application:
            yield application.wait_ready()


@pytest.mark.parametrize("name", NAMES)
def test_random_requests_to_every_endpoint_are_answered_as_the_oracle_says(service, worlds, search, name):
    """Right ones with the exact items, scores, reasons and metadata; wrong ones with a problem that names the fault."""
    stream = Requests(worlds, NAMES[0], seed=len(SEARCHES) * NAMES.index(name) + SEARCHES.index(search))
    for _ in range(REQUESTS):
        endpoint, body = stream.draw(name)
        response = service.request("POST", endpoint, json=body)
        assert not findings(worlds, NAMES[0], endpoint, body, response.status_code, response.json()), (endpoint, str(body)[:1000])


def test_the_responses_that_the_oracle_checks_take_the_retrieval_path_under_test(service, search):
    """Or a path that the service takes for many items, or on other processors, would go untested here."""
    before = proved_rows(service)
    service.recommend(user_id=7)

    assert searches_by(service.registry.current(), search)
    assert proved_rows(service) - before == (search != "plain")


def proved_rows(service):
    """How many rows the service has ranked by bounds with a proof."""
    lines = service.get("/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith('recoserve_retrieval_rows_total{path="proved"}'))


@pytest.mark.parametrize("search", ["exact", "graphs"])
def test_concurrent_requests_over_a_real_socket_are_answered_as_the_oracle_says(oracle_bundles, worlds, search):
    """`recoserve serve` in a process of its own with all models, and callers who don't wait for each other."""
    models = oracle_bundles[0].path.parents[1]
    outcomes = list(run(models, worlds, NAMES[0], requests=200, seed=0, path=search, callers=8))

    assert len(outcomes) == 200
    assert [outcome for outcome in outcomes if outcome.findings] == []


def damages(document):
    """Responses that are wrong in one thing each, made from a right one of three items or more."""
    items = document["items"]
    first, last = items[0], items[-1]
    yield {**document, "items": [last, *items[1:-1], first]}
    yield {**document, "items": items[:-1]}
    yield {**document, "items": [*items[:-1], first]}
    yield {**document, "items": [*items[:-1], {**last, "item_id": -1}]}
    yield {**document, "items": [{**first, "score": first["score"] * 1.001}, *items[1:]]}
    yield {**document, "items": [{**first, "item_id": last["item_id"]}, *items[1:-1], {**last, "item_id": first["item_id"]}]}
    yield {**document, "items": [{**first, "more": 1}, *items[1:]]}
    yield {**document, "items": [{**first, "metadata": {**first["metadata"], "year": 1}}, *items[1:]]}
    reasons = first["explanation"]
    for changed in (reasons[1:], reasons[::-1], [{**reasons[0], "share": reasons[0]["share"] * 1.01}, *reasons[1:]]):
        yield {**document, "items": [{**first, "explanation": changed}, *items[1:]]}
    yield {**document, "model": {"name": "another", "version": "1"}}
    yield {**document, "fallback": "popular"}


def test_the_oracle_sees_a_response_that_is_wrong_in_one_thing(service, worlds):
    body = {"user_id": 7, "k": 20, "include": ["metadata", "explanation"], "exclude_item_ids": [318, 296]}
    right = service.recommend(body).json()

    assert not findings(worlds, NAMES[0], "/recommend", body, 200, right)
    for number, wrong in enumerate(damages(right)):
        assert findings(worlds, NAMES[0], "/recommend", body, 200, wrong), f"damage {number}"


@pytest.mark.parametrize(
    "option", [{"exclude_seen": True}, {"diversity": 0.3}, {"diversity": 1}, {"filter": {"year": {"lte": 1980}}}, {"k": 49}]
)
def test_the_oracle_sees_an_option_that_had_no_effect(service, worlds, option):
    body = {"user_id": 7, "k": 50}
    without = service.recommend(body).json()

    assert findings(worlds, NAMES[0], "/recommend", {**body, **option}, 200, without)


def test_the_oracle_sees_a_problem_that_names_another_fault(service, worlds):
    body = {"user_id": 7, "exclude_item_ids": [318, -5]}
    response = service.recommend(body)
    elsewhere = {**response.json(), "errors": [{"pointer": "/exclude_item_ids/0", "detail": "?"}]}

    assert not findings(worlds, NAMES[0], "/recommend", body, response.status_code, response.json())
    assert findings(worlds, NAMES[0], "/recommend", body, response.status_code, elsewhere)
    assert findings(worlds, NAMES[0], "/recommend", {"user_id": 7}, response.status_code, response.json())
