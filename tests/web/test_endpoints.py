"""Every endpoint's ids, k, lists and JSON, for bundles of row, integer and string ids."""

import json

import pytest

from recoserve.scheduling.loader import load_model
from recoserve.web.routes import json_router
from tests.web.evens import (
    ID_FIELDS,
    IDS,
    ITEMS,
    LIST_FIELDS,
    NOT_IDS,
    UNKNOWN_ID_PROBLEM,
    UNKNOWN_IDS,
    UNKNOWN_IDS_ALLOWED,
    USERS,
    bodies,
)
from tests.web.http import Application, assert_problem

MAX_K, MAX_LIST = 50, 20
ENDPOINTS = list(bodies())
SCHEMAS = {route.path: route.response_model for route in json_router.routes}
WITH_CANDIDATES = [endpoint for endpoint, body in bodies().items() if "candidate_item_ids" in body]
WITH_K = [endpoint for endpoint in ENDPOINTS if endpoint != "/score"]


@pytest.fixture(scope="module")
def service(even_bundles):
    loaders = [lambda path=path: load_model(path) for path in even_bundles]
    with Application(*loaders, max_k=MAX_K, max_list_ids=MAX_LIST) as application:
        yield application.wait_ready()


def schema_of(service, endpoint):
    """The properties of an endpoint's request, by name, as documented in OpenAPI."""
    schema = service.get("/openapi.json").json()
    reference = schema["paths"][endpoint]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    return schema["components"]["schemas"][reference.rpartition("/")[2]]["properties"]


def ranking(answer):
    """The items or users that an answer ranks; of a batch, those of its first user."""
    return answer["users"] if "users" in answer else (answer["results"][0] if "results" in answer else answer)["items"]


def ids(response):
    assert response.status_code == 200, response.text
    return [entry.get("item_id", entry.get("user_id")) for entry in ranking(response.json())]


def with_id(body, field, external_id):
    """The body with this id in the field, as the second of two where the field is a list; and a JSON pointer to the id."""
    if field.endswith("_id"):
        return {**body, field: external_id}, f"/{field}"
    return {**body, field: [body[field][0], external_id]}, f"/{field}/1"


@pytest.mark.parametrize("model", IDS)
@pytest.mark.parametrize(("endpoint", "field"), ID_FIELDS)
def test_the_first_and_the_last_id_are_answered(service, model, endpoint, field):
    known_ids = IDS[model][0 if field.startswith("user") else 1]
    for external_id in (known_ids[0], known_ids[-1]):
        body, _ = with_id(bodies(model)[endpoint], field, external_id)
        response = service.post(endpoint, body)
        assert response.status_code == 200, response.text
        assert response.json()["model"]["name"] == model


@pytest.mark.parametrize("model", IDS)
@pytest.mark.parametrize(("endpoint", "field"), [field for field in ID_FIELDS if field not in UNKNOWN_IDS_ALLOWED])
def test_an_unknown_id_is_refused_with_a_pointer_to_it(service, model, endpoint, field):
    """A large one doesn't wrap round, −1 is not the last row, and the response is small and doesn't repeat the id."""
    first_beyond = [USERS] if model == "rows" and field == "user_id" else []
    for external_id in [*first_beyond, *UNKNOWN_IDS[model]]:
        body, pointer = with_id(bodies(model)[endpoint], field, external_id)
        response = service.post(endpoint, body)

        document = assert_problem(response, 422, UNKNOWN_ID_PROBLEM[model], pointer)
        assert len(document["errors"]) == 1 and len(response.content) < 1024
        assert len(str(external_id)) < 3 or json.dumps(external_id) not in response.text


@pytest.mark.parametrize("model", IDS)
def test_unknown_users_of_a_batch_and_unknown_items_of_a_score_are_listed_as_missing(service, model):
    """In the order of the request, as they were sent, however long; a strict batch is refused with a pointer to each."""
    users, items = IDS[model]
    unknown = list(UNKNOWN_IDS[model])

    batch = service.post("/recommend/batch", {"user_ids": [unknown[0], users[1], *unknown[1:]], "model": model}).json()
    assert unknown == batch["missing_user_ids"]
    assert [users[1]] == [result["user_id"] for result in batch["results"]]
    scored = service.post("/score", {"user_id": users[0], "item_ids": [*unknown, items[3]], "model": model}).json()
    assert (unknown, [items[3]]) == (scored["missing_item_ids"], [item["item_id"] for item in scored["items"]])
    unscored = service.post("/score", {"user_id": users[0], "item_ids": unknown, "model": model}).json()
    assert ([], unknown) == (unscored["items"], unscored["missing_item_ids"])
    strict = {"user_ids": [users[0], unknown[0], unknown[1]], "strict": True, "model": model}
    problem = assert_problem(service.post("/recommend/batch", strict), 422, UNKNOWN_ID_PROBLEM[model])
    assert [error["pointer"] for error in problem["errors"]] == ["/user_ids/1", "/user_ids/2"]


def test_a_batch_of_unknown_users_is_answered_and_a_strict_one_lists_at_most_20_errors(even_bundles):
    with Application(lambda: load_model(even_bundles[0])) as application:
        body = {"user_ids": [-1] * 10_000}
        answer = application.wait_ready().post("/recommend/batch", body)
        refused = application.post("/recommend/batch", {**body, "strict": True})

    assert (answer.json()["results"], answer.json()["missing_user_ids"]) == ([], [-1] * 10_000)
    assert len(assert_problem(refused, 422, "id-out-of-range")["errors"]) == 20


@pytest.mark.parametrize("model", IDS)
@pytest.mark.parametrize(("endpoint", "field"), ID_FIELDS)
def test_an_id_of_another_type_is_refused(service, model, endpoint, field):
    """A string is no integer and an integer no string, not even in a list that may hold unknown ids."""
    for value in [*NOT_IDS, *(["1", " 1 ", "1_0"] if model != "strings" else [1, 0])]:
        body, pointer = with_id(bodies(model)[endpoint], field, value)
        document = assert_problem(service.post(endpoint, body), 422, "invalid-request", pointer)
        assert len(document["errors"]) == 1


@pytest.mark.parametrize("endpoint", WITH_K)
@pytest.mark.parametrize("k", ["0", "-1", str(MAX_K + 1), "true", "1.0", "1e1", '"3"', "null", "[3]", "1" + "0" * 400])
def test_k_outside_its_limits_is_refused(service, endpoint, k):
    body = json.dumps(bodies()[endpoint])[:-1] + f', "k": {k}}}'

    assert_problem(service.post(endpoint, body.encode()), 422, "invalid-request", "/k")


@pytest.mark.parametrize("endpoint", [*WITH_CANDIDATES, "/similar/users"])
def test_a_k_above_the_number_of_items_or_users_gives_all_of_them(service, endpoint):
    """But an item or user is not similar to itself, and a history's own items are not recommended."""
    body = {field: value for field, value in bodies()[endpoint].items() if field not in ("exclude_item_ids", "candidate_item_ids")}
    left_out = {"/recommend/history": {0, 1, 2}, "/similar/items": {0}, "/similar/users": {0}}.get(endpoint, set())

    everything = range(USERS if endpoint == "/similar/users" else ITEMS)
    assert set(everything) - left_out == set(ids(service.post(endpoint, {**body, "k": MAX_K})))


@pytest.mark.parametrize(("endpoint", "field"), LIST_FIELDS)
def test_an_empty_list_is_an_error_unless_it_lists_exclusions_or_dislikes(service, endpoint, field):
    """An empty list of exclusions or dislikes means the same as none sent."""
    body = bodies()[endpoint]
    response = service.post(endpoint, {**body, field: []})

    if field in ("exclude_item_ids", "negative_item_ids"):
        absent = {name: value for name, value in body.items() if name != field}
        assert response.status_code == 200
        assert service.post(endpoint, absent).content == response.content
    else:
        assert_problem(response, 422, "invalid-request", f"/{field}")


@pytest.mark.parametrize("endpoint", WITH_CANDIDATES)
def test_duplicates_in_exclusions_and_candidates_change_nothing(service, endpoint):
    once = {**bodies()[endpoint], "candidate_item_ids": [3, 4, 6], "exclude_item_ids": [6]}
    twice = {**once, "candidate_item_ids": [6, 3, 3, 4, 6, 4], "exclude_item_ids": [6, 6]}

    assert service.post(endpoint, once).content == service.post(endpoint, twice).content
    assert {3, 4} == set(ids(service.post(endpoint, twice)))


def test_an_id_that_stands_twice_in_a_request_has_two_results(service):
    """In the order of the request."""
    batch = service.post("/recommend/batch", {"user_ids": [1, 0, 1], "k": 2}).json()["results"]
    scores = service.post("/score", {"user_id": 0, "item_ids": [3, 0, 3, 99, 0, 99]}).json()

    assert [(result["user_id"], [item["item_id"] for item in result["items"]]) for result in batch] == [
        (1, [1, 3]),
        (0, [0, 2]),
        (1, [1, 3]),
    ]
    assert [(item["item_id"], item["score"]) for item in scores["items"]] == [(3, 0), (0, 1), (3, 0), (0, 1)]
    assert scores["missing_item_ids"] == [99, 99]


@pytest.mark.parametrize(("endpoint", "field"), [*LIST_FIELDS, ("/recommend/history", "weights"), ("/recommend/history", "vector")])
def test_a_list_over_the_limit_is_refused_as_a_whole(service, endpoint, field):
    """With one error for the list, not one for each member; a list at the limit is read."""
    body = bodies()[endpoint]
    refused = service.post(endpoint, {**body, field: [None] * (MAX_LIST + 1)})

    assert len(assert_problem(refused, 422, "invalid-request", f"/{field}")["errors"]) == 1
    at_the_limit = service.post(endpoint, {**body, field: [None] * MAX_LIST})
    assert len(assert_problem(at_the_limit, 422, "invalid-request", f"/{field}/0")["errors"]) == 20


@pytest.mark.parametrize("endpoint", WITH_CANDIDATES)
def test_if_fewer_than_k_items_are_not_excluded_the_answer_is_short_or_empty(service, endpoint):
    """A candidate that is excluded as well is left out."""
    body = bodies()[endpoint]

    assert ids(service.post(endpoint, {**body, "exclude_item_ids": list(range(ITEMS))})) == []
    assert ids(service.post(endpoint, {**body, "candidate_item_ids": [3], "exclude_item_ids": [3]})) == []
    assert ids(service.post(endpoint, {**body, "candidate_item_ids": [5, 4, 3], "exclude_item_ids": [4, 3], "k": 3})) == [5]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_body_must_be_an_object_with_the_required_fields_and_no_unknown_ones(service, endpoint):
    """A missing field is named; an unknown one is not repeated, since a client may have put anything there."""
    for body in ([], [1], None, "text", 3, True, [bodies()[endpoint]]):
        assert_problem(service.post(endpoint, body), 422, "invalid-request", "")
    unknown = service.post(endpoint, {**bodies()[endpoint], "surprise": 1})
    assert_problem(unknown, 422, "invalid-request", "")
    assert "surprise" not in unknown.text
    for field in {"user_id", "user_ids", "item_id", "item_ids"} & bodies()[endpoint].keys():
        missing = service.post(endpoint, {name: value for name, value in bodies()[endpoint].items() if name != field})
        assert_problem(missing, 422, "invalid-request", "" if endpoint == "/recommend/history" else f"/{field}")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    "member",
    [
        '"k": 1, "k": 1',
        '"k": NaN',
        '"k": 1 // one',
        '"model": "\\ud800"',
        '"filter": {"year": {"eq": 1, "eq": 1}}',
        '"filter": {"year": {"eq": 1}, "ye\\u0061r": {"eq": 1}}',
        '"filter": ' + '{"a":' * 50_000 + "1" + "}" * 50_000,
        '"filter": ' + "[" * 100_000,
        f'"k": {"9" * 5000}',
    ],
    ids=["twice", "NaN", "comment", "half a character", "twice below", "twice, spelt otherwise", "deep", "deeper", "5,000 digits"],
)
def test_malformed_json_is_a_400_and_the_next_request_is_answered(service, endpoint, member):
    """At any depth, whether or not the endpoint knows the field."""
    body = json.dumps(bodies()[endpoint])

    assert_problem(service.post(endpoint, f"{body[:-1]}, {member}}}".encode()), 400, "malformed-json")
    assert service.post(endpoint, body.encode()).status_code == 200


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_body_that_is_not_one_utf_8_document_is_a_400(service, endpoint):
    body = json.dumps(bodies()[endpoint])
    for content in (
        b"",
        body[:-1].encode(),
        (body + " x").encode(),
        (body * 2).encode(),
        b"\xef\xbb\xbf" + body.encode(),
        body.encode("utf-16"),
    ):
        assert_problem(service.post(endpoint, content), 400, "malformed-json")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_another_media_type_or_a_compressed_body_is_a_415(service, endpoint):
    for headers in (
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Encoding": "gzip"},
    ):
        assert_problem(service.post(endpoint, bodies()[endpoint], **headers), 415, "unsupported-media-type")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_body_over_the_limit_is_a_413(even_bundles, endpoint):
    with Application(lambda: load_model(even_bundles[0]), max_body_bytes=300) as application:
        body = json.dumps(bodies()[endpoint]).encode()
        assert_problem(application.wait_ready().post(endpoint, body + b" " * 300), 413, "body-too-large")
        assert application.post(endpoint, body).status_code == 200


@pytest.mark.parametrize(("endpoint", "schema"), SCHEMAS.items())
@pytest.mark.parametrize("model", IDS)
def test_answers_fit_the_documented_schema_and_hold_nothing_else(service, endpoint, schema, model):
    """With everything included that an answer can hold."""
    body = bodies(model)[endpoint]
    if "include" in schema_of(service, endpoint):
        include = ["metadata"] if endpoint in ("/similar/items", "/explain") else ["metadata", "explanation"]
        body = {**body, "include": include}
    response = service.post(endpoint, body)

    assert response.status_code == 200, response.text
    answer = schema.model_validate_json(response.content, strict=True)
    assert answer.model_dump(mode="json", exclude_none=True) == response.json()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_another_method_is_a_405_that_names_the_right_one(service, endpoint):
    for method in ("GET", "PUT", "DELETE"):
        response = service.request(method, endpoint)
        assert_problem(response, 405, "method-not-allowed")
        assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_model_that_is_not_served_is_a_404_whatever_else_is_wrong(service, endpoint):
    body = {**bodies()[endpoint], "model": "films"}

    assert_problem(service.post(endpoint, body), 404, "unknown-model", "/model")
    field = next(iter(body))
    assert_problem(service.post(endpoint, {**body, **with_id(body, field, 10**9)[0]}), 404, "unknown-model", "/model")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_timeout_of_0_is_a_504_and_an_invalid_one_a_422(service, endpoint):
    assert_problem(service.post(endpoint, bodies()[endpoint], **{"X-Request-Timeout-Ms": "0"}), 504, "deadline-exceeded")
    assert_problem(service.post(endpoint, bodies()[endpoint], **{"X-Request-Timeout-Ms": "1.5"}), 422, "invalid-request")


def test_every_json_endpoint_of_the_schema_is_tested_here(service):
    documented = service.get("/openapi.json").json()["paths"]

    assert set(ENDPOINTS) == {path for path, methods in documented.items() if "requestBody" in methods.get("post", {})}
