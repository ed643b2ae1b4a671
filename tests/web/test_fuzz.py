"""Whatever a client sends to an endpoint is answered with a 200 or a problem that blames the request, never with a 500."""

import json
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoserve.scheduling.loader import load_model
from tests.web.evens import METADATA, bodies
from tests.web.http import Application, assert_problem

ENDPOINTS = list(bodies())
FIELDS = sorted({field for body in bodies().values() for field in body})
OPTIONS = ["k", "filter", "diversity", "include", "exclude_seen", "fallback", "strict", "weights", "vector", "surprise"]
OPERATORS = ["any", "all", "none", "in", "eq", "gte", "lte", "like"]
numbers = st.integers(-2, 10) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
atoms = st.none() | st.booleans() | numbers | st.text() | st.sampled_from(["metadata", "explanation", "popular", "even", 10**400])
documents = st.recursive(atoms, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
values = atoms | st.lists(atoms, max_size=4)
filters = st.dictionaries(
    st.sampled_from([*METADATA[5], "no column"]) | st.text(),
    st.dictionaries(st.sampled_from(OPERATORS) | st.text(), values, max_size=3) | documents,
    max_size=3,
)
changes = st.dictionaries(st.sampled_from(FIELDS + OPTIONS), values | documents, max_size=3)


@pytest.fixture(scope="module")
def services(even_bundles):
    """Three services of one model each: with row ids and everything, bare, and of format 1."""
    with ExitStack() as stack:
        folders = (even_bundles[0], *even_bundles[3:])
        yield [stack.enter_context(Application(lambda folder=folder: load_model(folder))).wait_ready() for folder in folders]


def assert_answered(response):
    """A 200 in JSON that holds no null for a number, or a problem."""
    if response.status_code == 200:
        answer = response.json()
        for item in answer.get("items", answer.get("users", [])):
            assert isinstance(item.get("score", item.get("cosine")), float | int)
    else:
        assert response.status_code in (404, 422), response.text
        assert_problem(response, response.status_code, response.json()["type"].rpartition("/")[2])


@settings(max_examples=300)
@given(st.sampled_from(ENDPOINTS), changes, st.none() | filters, st.integers(0, 2))
def test_no_document_gives_a_500(services, endpoint, changed_fields, item_filter, service_index):
    """Law: for valid requests with some fields replaced, by what nearly fits and by what doesn't."""
    body = {**bodies()[endpoint], **changed_fields}
    if service_index:  # `bodies` names the model of the first one
        body.pop("model", None)
    if item_filter is not None:
        body["filter"] = item_filter

    assert_answered(services[service_index].post(endpoint, body))


@settings(max_examples=150)
@given(st.sampled_from(ENDPOINTS), st.data())
def test_no_bytes_give_a_500(services, endpoint, data):
    """Law: for valid bodies in which up to three bytes are replaced by up to three others."""
    body = json.dumps(bodies()[endpoint]).encode()
    start = data.draw(st.integers(0, len(body)))
    inserted, removed = data.draw(st.binary(max_size=3)), data.draw(st.integers(0, 3))
    response = services[0].post(endpoint, body[:start] + inserted + body[start + removed :])

    assert response.status_code in (200, 400, 404, 422)
