"""What must hold between the endpoints whatever is asked, through HTTP, whether the kernel finds the best or the graphs do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoserve.scheduling.loader import load_model
from recoserve_export import export_model
from tests.export.models import random_tables
from tests.fakes import fake_model
from tests.searches import searches_by, searching_by
from tests.web.evens import bodies
from tests.web.http import Application, assert_problem, item_ids

USERS, ITEMS = 40, 9000
PASSING = {"under a hundredth": {"tens": {"lte": 40}}, "half": {"odd": {"eq": True}}, "nearly all": {"tens": {"none": [10, 20]}}}
METADATA = [{"tens": row // 10 * 10, "odd": row % 2 == 1} for row in range(ITEMS)]
LAW = settings(max_examples=30)


@pytest.fixture(scope="module")
def tables():
    return random_tables(USERS, ITEMS)


@pytest.fixture(scope="module", params=["cosine", "dot"])
def folder(request, tables, tmp_path_factory):
    rng, folder = np.random.default_rng(4), tmp_path_factory.mktemp("laws") / request.param
    pairs = rng.integers(0, USERS, 400), rng.integers(0, ITEMS, 400)
    export_model(tables, folder, similarity=request.param, items=METADATA, interactions=pairs, name=request.param)
    return folder


@pytest.fixture(scope="module", params=["exact", "graphs"])
def way(request):
    return request.param


def serving(folder, way, **limits):
    with searching_by(way), Application(lambda: load_model(folder), **limits) as application:
        yield application.wait_ready()


@pytest.fixture(scope="module")
def service(folder, way):
    yield from serving(folder, way)


@pytest.fixture(scope="module")
def tight(folder, way):
    """Fewer rows at once, and waiting, than a batch has."""
    yield from serving(folder, way, max_batch_rows=3, max_queue_rows=5)


def test_answers_are_found_in_that_way(service, tight, way):
    assert all(searches_by(application.registry.current(), way) for application in (service, tight))


some_items = st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=30)
users = st.integers(0, USERS - 1)
options = st.fixed_dictionaries(
    {"k": st.integers(1, 60)},
    optional={
        "exclude_seen": st.booleans(),
        "exclude_item_ids": some_items,
        "candidate_item_ids": some_items,
        "filter": st.sampled_from(list(PASSING.values())),
        "diversity": st.sampled_from([0, 0.4, 1]),
        "include": st.lists(st.sampled_from(["metadata", "explanation"]), max_size=2),
    },
)


def top(response):
    """Ids and scores of a 200."""
    assert response.status_code == 200, response.text
    items = response.json()["items"]
    return [item["item_id"] for item in items], [item["score"] for item in items]


def assert_alike(found, expected):
    """The same items in the same order, and scores within what two ways of adding up float32 may differ."""
    assert found[0] == expected[0]
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-6, atol=1e-6)


@LAW
@given(st.lists(users, min_size=1, max_size=70), options)
def test_a_batch_is_the_single_answers_one_by_one(service, asked, wanted):
    """Law: byte for byte, whatever the options, for users who come twice as well, and for more users than run at once."""
    singles = [service.recommend({"user_id": user, **wanted}).content.partition(b',"model":') for user in asked]
    whole = service.post("/recommend/batch", {"user_ids": asked, **wanted})

    results = b",".join(single + b"}" for single, _, _ in singles)
    assert whole.content == b'{"results":[' + results + b'],"missing_user_ids":[],"model":' + singles[0][2]


@LAW
@given(st.lists(users, min_size=6, max_size=40), options)
def test_a_batch_beyond_what_runs_or_waits_at_once_is_the_same(service, tight, asked, wanted):
    body = {"user_ids": asked, **wanted}

    assert service.post("/recommend/batch", body).content == tight.post("/recommend/batch", body).content


@LAW
@given(users, options)
def test_a_users_own_vector_is_that_user(service, tables, user, wanted):
    """Law: a history by the user's vector is the user's answer, without what the bundle knows of the user alone."""
    plain = {field: value for field, value in wanted.items() if field not in ("exclude_seen", "include", "diversity")}
    history = service.post("/recommend/history", {"vector": tables[0][user].tolist(), **plain})

    assert_alike(top(history), top(service.recommend({"user_id": user, **plain})))


@LAW
@given(users, options)
def test_scores_are_those_of_the_recommendation(service, user, wanted):
    """Law: /score and /explain give each recommended item the score that it was recommended with."""
    found, expected = top(service.recommend({"user_id": user, **wanted}))
    if found:
        assert_alike(top(service.post("/score", {"user_id": user, "item_ids": found})), (found, expected))
        explained = service.post("/explain", {"user_id": user, "item_id": found[0]}).json()
        assert explained["score"] == pytest.approx(expected[0], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("share", PASSING)
@pytest.mark.parametrize("endpoint", ["/recommend", "/recommend/history", "/similar/items"])
def test_a_filter_is_the_candidates_that_pass(service, endpoint, share):
    """Law: however many they are, and whichever way they are found."""
    passes = {
        "under a hundredth": lambda item: item["tens"] <= 40,
        "half": lambda item: item["odd"],
        "nearly all": lambda item: item["tens"] not in (10, 20),
    }[share]
    candidates = [row for row, item in enumerate(METADATA) if passes(item)]
    for seed in range(5):
        who = {"/recommend": {"user_id": seed}, "/similar/items": {"item_id": seed}}.get(endpoint, {"item_ids": [seed, 9 * seed]})
        filtered = service.post(endpoint, {**who, "k": 20, "filter": PASSING[share]})
        assert_alike(top(filtered), top(service.post(endpoint, {**who, "k": 20, "candidate_item_ids": candidates})))


@LAW
@given(users, options)
def test_no_diversity_is_the_plain_answer(service, user, wanted):
    body = {"user_id": user, **wanted}
    body.pop("diversity", None)

    assert service.recommend(body).content == service.recommend({**body, "diversity": 0}).content


@LAW
@given(users, options)
def test_nothing_excluded_is_in_an_answer_nor_anything_that_fails_the_filter(service, user, wanted):
    found = service.recommend({"user_id": user, **wanted}).json()["items"]
    rows = [item["item_id"] for item in found]
    plain = {**wanted, "exclude_item_ids": [*wanted.get("exclude_item_ids", []), *rows], "diversity": 0}

    assert len(set(rows)) == len(rows) <= wanted["k"]
    assert set(rows).isdisjoint(wanted.get("exclude_item_ids", []))
    assert set(rows) <= set(wanted.get("candidate_item_ids", rows))
    assert set(rows).isdisjoint(item_ids(service.recommend({"user_id": user, **plain})))


asked_of_any = st.one_of(
    st.tuples(st.just("/recommend"), st.builds(lambda user, wanted: {"user_id": user, **wanted}, users, options)),
    st.tuples(
        st.just("/recommend/batch"), st.builds(lambda some, k: {"user_ids": some, "k": k}, st.lists(users, min_size=1), st.just(3))
    ),
    st.tuples(st.just("/recommend/history"), st.builds(lambda rows, wanted: {"item_ids": rows, **wanted}, some_items, options)),
    st.tuples(st.just("/similar/items"), st.builds(lambda row: {"item_id": row}, st.integers(0, ITEMS - 1))),
    st.tuples(st.just("/similar/users"), st.builds(lambda user: {"user_id": user}, users)),
    st.tuples(st.just("/score"), st.builds(lambda user, rows: {"user_id": user, "item_ids": rows}, users, some_items)),
    st.tuples(
        st.just("/explain"), st.builds(lambda user, row: {"user_id": user, "item_id": row}, users, st.integers(0, ITEMS - 1))
    ),
)


@LAW
@given(st.lists(asked_of_any, min_size=2, max_size=12))
def test_mates_in_flight_change_nothing(service, asked):
    """Law: requests of all endpoints at once are answered byte for byte as each alone; the same holds for what is refused."""
    alone = [service.post(path, body) for path, body in asked]
    together = service.mixed(*asked)

    assert [response.status_code for response in alone] == [response.status_code for response in together]
    assert all(one.content == other.content for one, other in zip(alone, together, strict=True) if one.status_code == 200)


def test_a_deadline_in_the_middle_of_a_batch_is_a_504_and_ends_the_work():
    model = fake_model(seconds=0.05)
    with Application(lambda: model, max_batch_rows=1) as application:
        body = {"user_ids": [0, 1, 2, 3, 4, 5] * 5}
        response = application.wait_ready().post("/recommend/batch", body, **{"X-Request-Timeout-Ms": "220"})
        assert_problem(response, 504, "deadline-exceeded")
        runs = sum(session.runs for session in model._sessions.values())
        assert item_ids(application.recommend(user_id=1, k=1)) == [1]

    assert 1 <= runs <= 5


@pytest.mark.parametrize(("options", "runs"), [({}, 1), ({"include": ["metadata"]}, 2)])
def test_users_whose_items_cost_more_are_answered_in_shorter_runs(options, runs):
    """So that others have their turn between: a thousand items each with metadata, four users at a time."""
    model = fake_model()
    with Application(lambda: model) as application:
        response = application.wait_ready().post("/recommend/batch", {"user_ids": [0, 1, 2, 3, 4, 5], "k": 1000, **options})

    assert [each["user_id"] for each in response.json()["results"]] == [0, 1, 2, 3, 4, 5]
    assert sum(session.runs for session in model._sessions.values()) == runs


@pytest.mark.parametrize("endpoint", bodies())
def test_more_than_the_queue_holds_is_a_503_with_retry_after(even_bundles, endpoint):
    """Case 70: for every endpoint the rest is answered."""
    with Application(lambda: load_model(even_bundles[0]), max_queue_rows=2) as application:
        responses = application.wait_ready().together(*[bodies()[endpoint]] * 6, path=endpoint)
        assert application.post(endpoint, bodies()[endpoint]).status_code == 200

    refused = [response for response in responses if response.status_code != 200]
    assert 0 < len(refused) < 6
    for response in refused:
        assert_problem(response, 503, "overloaded")
        assert response.headers["retry-after"]
