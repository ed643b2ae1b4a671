"""`POST /recommend`: ids, k and lists, on a model whose answers are known by reasoning."""

import json

import numpy as np
import pytest

from recoserve.bundle.vocabulary import IntegerIds, StringIds
from tests.fakes import fake_model
from tests.web.http import Application, assert_problem, item_ids

USERS, ITEMS = 6, 8
INTERACTIONS = [(0, 0), (0, 4), (2, 6)]
METADATA = [{"title": f"Item {row}", "genres": ["even" if row % 2 == 0 else "odd"]} for row in range(ITEMS)]


@pytest.fixture(scope="module")
def service():
    with Application(lambda: fake_model(interactions=INTERACTIONS, metadata=METADATA), max_k=50, max_list_ids=20) as application:
        yield application.wait_ready()


@pytest.fixture(scope="module")
def string_service():
    ids = {"user_ids": StringIds([f"u{row}" for row in range(USERS)]), "item_ids": StringIds([f"i{row}" for row in range(ITEMS)])}
    with Application(lambda: fake_model(**ids)) as application:
        yield application.wait_ready()


@pytest.fixture(scope="module")
def integer_service():
    users, items = IntegerIds(np.arange(1, USERS + 1)), IntegerIds(np.array([101, 7, 55, 3, 2000, -4, 90, 11]))
    with Application(lambda: fake_model(user_ids=users, item_ids=items)) as application:
        yield application.wait_ready()


def test_even_users_get_even_items_first(service):
    """Best first, with the model's name and version, and nothing else in the answer."""
    answer = service.recommend(user_id=0, k=4).json()

    assert [item["item_id"] for item in answer["items"]] == [0, 2, 4, 6]
    assert {"user_id", "items", "model"} == set(answer)
    assert answer["model"] == {"name": "fake", "version": "1"}
    assert {"item_id", "score"} == set(answer["items"][0])


def test_a_k_above_the_number_of_items_gives_all_of_them_and_so_does_the_default_of_10_here(service):
    assert len(item_ids(service.recommend(user_id=0))) == ITEMS
    assert len(item_ids(service.recommend(user_id=0, k=50))) == ITEMS


@pytest.mark.parametrize("user_id", [0, USERS - 1])
def test_the_first_and_the_last_user_are_answered(service, user_id):
    assert user_id % 2 == item_ids(service.recommend(user_id=user_id, k=1))[0] % 2


@pytest.mark.parametrize("user_id", [USERS, -1, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**400])
def test_an_integer_outside_the_rows_is_refused_and_the_range_named(service, user_id):
    """A large one doesn't wrap round, −1 is not the last row, and the response is small."""
    problem = assert_problem(service.recommend(user_id=user_id), 422, "id-out-of-range", "/user_id")

    assert problem["detail"] == "user_id must be in [0, 5]"


@pytest.mark.parametrize(
    "text", ["true", "1.0", "1e2", '"1"', '" 1 "', '"1_0"', "null", "[1]", "{}", '""', "-0.0", '"' + "x" * 600 + '"']
)
def test_a_user_id_that_is_no_json_integer_is_refused(service, text):
    assert_problem(service.send(f'{{"user_id": {text}}}'.encode()), 422, "invalid-request", "/user_id")


@pytest.mark.parametrize("k", ["0", "-1", "51", "true", "1.0", '"3"', "null", "1" + "0" * 400])
def test_k_outside_its_limits_is_refused(service, k):
    assert_problem(service.send(f'{{"user_id": 1, "k": {k}}}'.encode()), 422, "invalid-request", "/k")


def test_items_of_equal_score_stand_in_row_order_every_time():
    """The odd items all have a score of 0 for an even user."""
    with Application(lambda: fake_model(items=8)) as application:
        orders = {tuple(item_ids(application.wait_ready().recommend(user_id=0, k=8))) for _ in range(5)}

    assert {(0, 2, 4, 6, 1, 3, 5, 7)} == orders


def test_candidates_of_equal_score_stand_in_row_order_whatever_their_order_in_the_request(service):
    assert item_ids(service.recommend(user_id=0, candidate_item_ids=[7, 1, 3])) == [1, 3, 7]


def test_an_empty_list_of_candidates_is_an_error(service):
    assert_problem(service.recommend(user_id=0, candidate_item_ids=[]), 422, "invalid-request", "/candidate_item_ids")


def test_an_empty_list_of_exclusions_excludes_nothing(service):
    assert item_ids(service.recommend(user_id=0)) == item_ids(service.recommend(user_id=0, exclude_item_ids=[]))


def test_duplicates_in_a_list_change_nothing(service):
    """No item comes back twice."""
    assert item_ids(service.recommend(user_id=0, candidate_item_ids=[5, 2, 5, 2, 2])) == [2, 5]
    assert item_ids(service.recommend(user_id=0, k=2, exclude_item_ids=[0, 0, 0])) == [2, 4]


@pytest.mark.parametrize("field", ["exclude_item_ids", "candidate_item_ids"])
def test_a_list_over_the_limit_is_refused_as_a_whole(service, field):
    """With one error for the list, not one for each member."""
    problem = assert_problem(service.recommend({"user_id": 0, field: ["no id"] * 21}), 422, "invalid-request", f"/{field}")

    assert len(problem["errors"]) == 1


@pytest.mark.parametrize("field", ["exclude_item_ids", "candidate_item_ids"])
def test_one_unknown_id_among_many_is_named_by_its_index(service, field):
    assert_problem(service.recommend({"user_id": 0, field: [1, 2, 99, 3]}), 422, "id-out-of-range", f"/{field}/2")


def test_at_most_20_errors_are_listed():
    """Of ten thousand unknown ids."""
    with Application(fake_model, max_body_bytes=1 << 20) as application:
        response = application.wait_ready().recommend(user_id=0, exclude_item_ids=[-1] * 10_000)

    assert len(assert_problem(response, 422, "id-out-of-range")["errors"]) == 20


def test_if_every_item_is_excluded_the_answer_is_empty(service):
    assert item_ids(service.recommend(user_id=0, exclude_item_ids=list(range(ITEMS)))) == []
    assert item_ids(service.recommend(user_id=0, candidate_item_ids=[3], exclude_item_ids=[3])) == []


def test_if_fewer_than_k_items_are_not_excluded_the_answer_is_short(service):
    assert item_ids(service.recommend(user_id=0, k=5, exclude_item_ids=[0, 1, 2, 3, 4, 5, 7])) == [6]


def test_an_item_that_is_both_a_candidate_and_excluded_is_left_out(service):
    assert item_ids(service.recommend(user_id=0, candidate_item_ids=[0, 2], exclude_item_ids=[0])) == [2]


def test_exclude_seen_leaves_out_the_users_own_interactions(service):
    """And only that user's."""
    assert item_ids(service.recommend(user_id=0, k=2, exclude_seen=True)) == [2, 6]
    assert item_ids(service.recommend(user_id=2, k=3, exclude_seen=True)) == [0, 2, 4]
    assert item_ids(service.recommend(user_id=4, k=3, exclude_seen=True)) == [0, 2, 4]


def test_seen_items_and_excluded_items_are_both_left_out(service):
    assert item_ids(service.recommend(user_id=0, k=2, exclude_seen=True, exclude_item_ids=[2])) == [6, 1]


def test_metadata_is_included_on_request(service):
    items = service.recommend(user_id=1, k=1, include=["metadata"]).json()["items"]

    assert [METADATA[1]] == [item["metadata"] for item in items]


def test_metadata_keeps_integers_of_any_size():
    metadata = [{"isbn": 10**30 + row, "parts": [{"pages": -(2**64)}], "year": 2**64 - 1} for row in range(ITEMS)]
    with Application(lambda: fake_model(metadata=metadata)) as application:
        body = {"user_ids": [1, 0], "k": ITEMS, "include": ["metadata"]}
        results = application.wait_ready().post("/recommend/batch", body).json()["results"]

    items = [item for result in results for item in result["items"]]
    assert len(items) == 2 * ITEMS
    assert [metadata[item["item_id"]] for item in items] == [item["metadata"] for item in items]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/user_id"),
        ({"user_id": 1, "surprise": 2}, ""),
        ({"user_id": 1, "exclude_seen": 1}, "/exclude_seen"),
        ({"user_id": 1, "exclude_seen": "true"}, "/exclude_seen"),
        ({"user_id": 1, "exclude_item_ids": 3}, "/exclude_item_ids"),
        ({"user_id": 1, "exclude_item_ids": [1.0]}, "/exclude_item_ids/0"),
        ({"user_id": 1, "candidate_item_ids": {"a": 1}}, "/candidate_item_ids"),
        ({"user_id": 1, "include": ["secrets"]}, "/include/0"),
    ],
)
def test_a_wrong_field_is_named(service, body, pointer):
    """But an unknown field's own name is not echoed, since a client may have put anything there."""
    response = service.recommend(body)

    assert_problem(response, 422, "invalid-request", pointer)
    assert "surprise" not in response.text and "secrets" not in response.text


@pytest.mark.parametrize("body", [[], [1], None, "text", 3, True])
def test_a_body_that_is_no_object_is_refused(service, body):
    assert_problem(service.send(json.dumps(body).encode()), 422, "invalid-request", "")


def test_a_model_of_string_ids_takes_and_returns_strings(string_service):
    assert item_ids(string_service.recommend(user_id="u1", k=2)) == ["i1", "i3"]
    assert_problem(string_service.recommend(user_id="u99"), 422, "unknown-id", "/user_id")
    assert_problem(string_service.recommend(user_id="U1"), 422, "unknown-id", "/user_id")
    assert_problem(string_service.recommend(user_id=1), 422, "invalid-request", "/user_id")
    assert_problem(
        string_service.recommend(user_id="u1", exclude_item_ids=["i1", 1]), 422, "invalid-request", "/exclude_item_ids/1"
    )


def test_a_model_of_integer_ids_maps_them_to_rows(integer_service):
    """User 1 is row 0, and item 101 is row 0, the best for even rows; item ids are in no order."""
    assert item_ids(integer_service.recommend(user_id=1, k=4)) == [101, 55, 2000, 90]
    assert item_ids(integer_service.recommend(user_id=2, candidate_item_ids=[-4])) == [-4]
    problem = assert_problem(integer_service.recommend(user_id=0), 422, "unknown-id", "/user_id")
    assert "1 to 6" in problem["detail"]
    assert_problem(integer_service.recommend(user_id=1, candidate_item_ids=[101, 102]), 422, "unknown-id", "/candidate_item_ids/1")
    assert_problem(integer_service.recommend(user_id=2**64), 422, "unknown-id", "/user_id")
    assert_problem(integer_service.recommend(user_id="1"), 422, "invalid-request", "/user_id")


def test_of_many_requests_at_once_each_gets_its_own_answer(service):
    """They differ in user, k and exclusion, so that answers given to the wrong request would show."""
    bodies = [{"user_id": n % USERS, "k": 1 + n % 4, "exclude_item_ids": [n % ITEMS]} for n in range(60)]
    one_by_one = [service.recommend(body).json() for body in bodies]

    assert one_by_one == [response.json() for response in service.together(*bodies)]
