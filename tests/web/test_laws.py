"""Laws between the endpoints, through HTTP, for random requests, whether the kernel searches or the graphs do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoserve.bundle import contract
from recoserve.scheduling.loader import load_model
from recoserve_export import export_model
from tests.export.models import random_tables
from tests.fakes import fake_model
from tests.searches import searches_by, searching_by
from tests.web.evens import bodies
from tests.web.http import Application, assert_problem, item_ids

USERS, ITEMS = 40, 9000
FILTERS = {  # by the share of the items that pass
    "under a hundredth": {"tens": {"lte": 40}},
    "half": {"odd": {"eq": True}},
    "nearly all": {"tens": {"none": [10, 20]}},
}
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
def search(request):
    return request.param


def serving(folder, search, **limits):
    with searching_by(search), Application(lambda: load_model(folder), **limits) as application:
        yield application.wait_ready()


@pytest.fixture(scope="module")
def service(folder, search):
    yield from serving(folder, search)


@pytest.fixture(scope="module")
def small_queue_service(folder, search):
    """Runs and queues fewer rows at once than the batches of these tests have."""
    yield from serving(folder, search, max_batch_rows=3, max_queue_rows=5)


def test_both_services_use_the_search_under_test(service, small_queue_service, search):
    assert all(searches_by(application.registry.current(), search) for application in (service, small_queue_service))


item_lists = st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=30)
users = st.integers(0, USERS - 1)
option_sets = st.fixed_dictionaries(
    {"k": st.integers(1, 60)},
    optional={
        "exclude_seen": st.booleans(),
        "exclude_item_ids": item_lists,
        "candidate_item_ids": item_lists,
        "filter": st.sampled_from(list(FILTERS.values())),
        "diversity": st.sampled_from([0, 0.4, 1]),
        "include": st.lists(st.sampled_from(["metadata", "explanation"]), max_size=2),
    },
)


def top(response):
    """Ids and scores of a 200."""
    assert response.status_code == 200, response.text
    items = response.json()["items"]
    return [item["item_id"] for item in items], [item["score"] for item in items]


def assert_same_top(actual, expected):
    """The same items in the same order, and scores as close as float32 sums in different orders of addition are."""
    assert actual[0] == expected[0]
    np.testing.assert_allclose(actual[1], expected[1], rtol=1e-6, atol=1e-6)


@LAW
@given(st.lists(users, min_size=1, max_size=70), option_sets)
def test_a_batch_has_the_bytes_of_the_single_answers(service, user_ids, options):
    """Law: whatever the options, for a user who stands in it twice as well, and for more users than one run takes."""
    singles = [service.recommend({"user_id": user, **options}).content.partition(b',"model":') for user in user_ids]
    batch = service.post("/recommend/batch", {"user_ids": user_ids, **options})

    results = b",".join(single + b"}" for single, _, _ in singles)
    assert batch.content == b'{"results":[' + results + b'],"missing_user_ids":[],"model":' + singles[0][2]


@LAW
@given(st.lists(users, min_size=6, max_size=40), option_sets)
def test_a_batch_of_more_rows_than_the_queue_holds_has_the_same_answer(service, small_queue_service, user_ids, options):
    body = {"user_ids": user_ids, **options}

    assert service.post("/recommend/batch", body).content == small_queue_service.post("/recommend/batch", body).content


@LAW
@given(users, option_sets)
def test_a_history_by_a_users_vector_is_that_users_answer(service, tables, user, options):
    """Law: under every option that needs no interactions of the user."""
    of_vectors = {name: value for name, value in options.items() if name not in ("exclude_seen", "include", "diversity")}
    history = service.post("/recommend/history", {"vector": tables[0][user].tolist(), **of_vectors})

    assert_same_top(top(history), top(service.recommend({"user_id": user, **of_vectors})))


@LAW
@given(users, option_sets)
def test_score_and_explain_give_an_item_the_score_that_it_is_recommended_with(service, user, options):
    recommended, expected = top(service.recommend({"user_id": user, **options}))
    if recommended:
        assert_same_top(top(service.post("/score", {"user_id": user, "item_ids": recommended})), (recommended, expected))
        explained = service.post("/explain", {"user_id": user, "item_id": recommended[0]}).json()
        assert explained["score"] == pytest.approx(expected[0], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("share", FILTERS)
@pytest.mark.parametrize("endpoint", ["/recommend", "/recommend/history", "/similar/items"])
def test_a_filter_gives_the_answer_of_the_passing_items_as_candidates(service, endpoint, share):
    """Law: however many pass; the search chooses its path by their share."""
    passes = {
        "under a hundredth": lambda item: item["tens"] <= 40,
        "half": lambda item: item["odd"],
        "nearly all": lambda item: item["tens"] not in (10, 20),
    }[share]
    candidates = [row for row, item in enumerate(METADATA) if passes(item)]
    for seed in range(5):
        ids = {"/recommend": {"user_id": seed}, "/similar/items": {"item_id": seed}}.get(endpoint, {"item_ids": [seed, 9 * seed]})
        filtered = service.post(endpoint, {**ids, "k": 20, "filter": FILTERS[share]})
        assert_same_top(top(filtered), top(service.post(endpoint, {**ids, "k": 20, "candidate_item_ids": candidates})))


@LAW
@given(users, option_sets)
def test_a_diversity_of_0_changes_nothing(service, user, options):
    body = {"user_id": user, **options}
    body.pop("diversity", None)

    assert service.recommend(body).content == service.recommend({**body, "diversity": 0}).content


@LAW
@given(users, option_sets)
def test_an_answer_holds_candidates_that_are_not_excluded_each_once(service, user, options):
    items = service.recommend({"user_id": user, **options}).json()["items"]
    rows = [item["item_id"] for item in items]
    excluding_these = {**options, "exclude_item_ids": [*options.get("exclude_item_ids", []), *rows], "diversity": 0}

    assert len(set(rows)) == len(rows) <= options["k"]
    assert set(rows).isdisjoint(options.get("exclude_item_ids", []))
    assert set(rows) <= set(options.get("candidate_item_ids", rows))
    assert set(rows).isdisjoint(item_ids(service.recommend({"user_id": user, **excluding_these})))


any_request = st.one_of(
    st.tuples(st.just("/recommend"), st.builds(lambda user, options: {"user_id": user, **options}, users, option_sets)),
    st.tuples(st.just("/recommend/batch"), st.builds(lambda rows: {"user_ids": rows, "k": 3}, st.lists(users, min_size=1))),
    st.tuples(st.just("/recommend/history"), st.builds(lambda ids, options: {"item_ids": ids, **options}, item_lists, option_sets)),
    st.tuples(st.just("/similar/items"), st.builds(lambda row: {"item_id": row}, st.integers(0, ITEMS - 1))),
    st.tuples(st.just("/similar/users"), st.builds(lambda user: {"user_id": user}, users)),
    st.tuples(st.just("/score"), st.builds(lambda user, rows: {"user_id": user, "item_ids": rows}, users, item_lists)),
    st.tuples(
        st.just("/explain"), st.builds(lambda user, row: {"user_id": user, "item_id": row}, users, st.integers(0, ITEMS - 1))
    ),
)


@LAW
@given(st.lists(any_request, min_size=2, max_size=12))
def test_requests_in_flight_at_once_are_answered_byte_for_byte_as_one_after_another(service, requests):
    """Law: for requests to all endpoints; a request that is refused on its own is refused among others as well."""
    one_by_one = [service.post(path, body) for path, body in requests]
    together = service.post_together(*requests)

    assert [response.status_code for response in one_by_one] == [response.status_code for response in together]
    for single, response in zip(one_by_one, together, strict=True):
        assert single.status_code != 200 or single.content == response.content


def test_a_deadline_in_the_middle_of_a_batch_is_a_504_and_ends_the_work():
    """The first two users are ranked; the deadline passes in the third one's run; the other 27 are never ranked."""
    model = fake_model()
    session, rank = model._sessions[contract.RECOMMEND], model.rank

    def rank_and_hold_the_third_run(queries):
        if session.runs == 2:
            session.gate.clear()
        return rank(queries)

    with Application(lambda: model, max_batch_rows=1) as application:
        application.wait_ready()
        model.rank = rank_and_hold_the_third_run
        # A deadline is wall-clock time. Two runs of the fake take under a millisecond: a second is enough on a busy machine too.
        body = {"user_ids": [0, 1, 2, 3, 4, 5] * 5}
        response = application.post("/recommend/batch", body, **{"X-Request-Timeout-Ms": "1000"})
        session.gate.set()
        assert_problem(response, 504, "deadline-exceeded")
        assert item_ids(application.recommend(user_id=1, k=1)) == [1]

    assert session.runs == 3 + 1


@pytest.mark.parametrize(("options", "runs"), [({}, 1), ({"include": ["metadata"]}, 2)])
def test_users_whose_answers_cost_more_are_ranked_in_shorter_runs(options, runs):
    """So that other requests are answered between them: with metadata, a thousand items each are four users a run."""
    model = fake_model()
    with Application(lambda: model) as application:
        response = application.wait_ready().post("/recommend/batch", {"user_ids": [0, 1, 2, 3, 4, 5], "k": 1000, **options})

    assert [result["user_id"] for result in response.json()["results"]] == [0, 1, 2, 3, 4, 5]
    assert sum(session.runs for session in model._sessions.values()) == runs


@pytest.mark.parametrize("endpoint", bodies())
def test_if_the_queue_is_full_a_request_is_a_503_with_retry_after_and_the_others_are_answered(even_bundles, endpoint):
    with Application(lambda: load_model(even_bundles[0]), max_queue_rows=2) as application:
        responses = application.wait_ready().together(*[bodies()[endpoint]] * 6, path=endpoint)
        assert application.post(endpoint, bodies()[endpoint]).status_code == 200

    refused = [response for response in responses if response.status_code != 200]
    assert 0 < len(refused) < 6
    for response in refused:
        assert_problem(response, 503, "overloaded")
        assert response.headers["retry-after"]
