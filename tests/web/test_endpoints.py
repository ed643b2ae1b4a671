"""Every endpoint's ids, k, lists and JSON (cases 18 to 48), for bundles of row, integer and string ids."""

import json

import pytest

from recoserve.scheduling.loader import load_model
from recoserve.web.routes import json_router
from tests.web.evens import FORGIVING, ID_FIELDS, IDS, ITEMS, LIST_FIELDS, NO_IDS, NOBODY, PROBLEM, USERS, bodies
from tests.web.http import Application, assert_problem

MAX_K, MAX_LIST = 50, 20
ENDPOINTS = list(bodies())
SCHEMAS = {route.path: route.response_model for route in json_router.routes}
CHOOSING = [endpoint for endpoint, body in bodies().items() if "candidate_item_ids" in body]
COUNTED = [endpoint for endpoint in ENDPOINTS if endpoint != "/score"]


@pytest.fixture(scope="module")
def service(even_bundles):
    loaders = [lambda path=path: load_model(path) for path in even_bundles]
    with Application(*loaders, max_k=MAX_K, max_list_ids=MAX_LIST) as application:
        yield application.wait_ready()


def schema_of(service, endpoint):
    """The fields that an endpoint takes, as documented."""
    schema = service.get("/openapi.json").json()
    reference = schema["paths"][endpoint]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    return schema["components"]["schemas"][reference.rpartition("/")[2]]["properties"]


def listed(answer):
    """What an answer ranks: its items or users, or the first user's."""
    return answer["users"] if "users" in answer else (answer["results"][0] if "results" in answer else answer)["items"]


def ids(response):
    assert response.status_code == 200, response.text
    return [one.get("item_id", one.get("user_id")) for one in listed(response.json())]


def having(body, field, value):
    """The body with an id in place of its own, or beside those of a list; and where a problem would point."""
    if field.endswith("_id"):
        return {**body, field: value}, f"/{field}"
    return {**body, field: [body[field][0], value]}, f"/{field}/1"


@pytest.mark.parametrize("model", IDS)
@pytest.mark.parametrize(("endpoint", "field"), ID_FIELDS)
def test_the_first_and_the_last_id_are_answered(service, model, endpoint, field):
    """Case 28."""
    known = IDS[model][0 if field.startswith("user") else 1]
    for external in (known[0], known[-1]):
        body, _ = having(bodies(model)[endpoint], field, external)
        response = service.post(endpoint, body)
        assert response.status_code == 200, response.text
        assert response.json()["model"]["name"] == model


@pytest.mark.parametrize("model", IDS)
@pytest.mark.parametrize(("endpoint", "field"), [each for each in ID_FIELDS if each not in FORGIVING])
def test_an_unknown_id_is_refused_by_its_place(service, model, endpoint, field):
    """Cases 29, 30, 34, 35 and 45: no wrap, never the last row, and a small answer without the id."""
    first_beyond = [USERS] if model == "rows" and field == "user_id" else []
    for external in [*first_beyond, *NOBODY[model]]:
        body, pointer = having(bodies(model)[endpoint], field, external)
        response = service.post(endpoint, body)

        document = assert_problem(response, 422, PROBLEM[model], pointer)
        assert len(document["errors"]) == 1 and len(response.content) < 1024
        assert len(str(external)) < 3 or json.dumps(external) not in response.text


@pytest.mark.parametrize("model", IDS)
def test_unknown_users_of_a_batch_and_unknown_items_of_a_score_are_told_apart(service, model):
    """In the order asked, as they were sent, however long; a strict batch names each by its index."""
    users, items = IDS[model]
    nobody = list(NOBODY[model])

    batch = service.post("/recommend/batch", {"user_ids": [nobody[0], users[1], *nobody[1:]], "model": model}).json()
    assert nobody == batch["missing_user_ids"]
    assert [users[1]] == [one["user_id"] for one in batch["results"]]
    scored = service.post("/score", {"user_id": users[0], "item_ids": [*nobody, items[3]], "model": model}).json()
    assert (nobody, [items[3]]) == (scored["missing_item_ids"], [one["item_id"] for one in scored["items"]])
    none = service.post("/score", {"user_id": users[0], "item_ids": nobody, "model": model}).json()
    assert ([], nobody) == (none["items"], none["missing_item_ids"])
    strict = {"user_ids": [users[0], nobody[0], nobody[1]], "strict": True, "model": model}
    found = assert_problem(service.post("/recommend/batch", strict), 422, PROBLEM[model])["errors"]
    assert [error["pointer"] for error in found] == ["/user_ids/1", "/user_ids/2"]


def test_a_batch_of_nobody_is_answered_and_a_strict_one_lists_at_most_20(even_bundles):
    """Case 27."""
    with Application(lambda: load_model(even_bundles[0])) as application:
        asked = {"user_ids": [-1] * 10_000}
        answer = application.wait_ready().post("/recommend/batch", asked)
        refused = application.post("/recommend/batch", {**asked, "strict": True})

    assert (answer.json()["results"], answer.json()["missing_user_ids"]) == ([], [-1] * 10_000)
    assert len(assert_problem(refused, 422, "id-out-of-range")["errors"]) == 20


@pytest.mark.parametrize("model", IDS)
@pytest.mark.parametrize(("endpoint", "field"), ID_FIELDS)
def test_what_is_no_id_of_the_models_is_not_taken_for_one(service, model, endpoint, field):
    """Cases 31 to 33 and 36; a string is no integer, nor the other way round, not even in a list that may hold unknown ids."""
    for value in [*NO_IDS, *(["1", " 1 ", "1_0"] if model != "strings" else [1, 0])]:
        body, pointer = having(bodies(model)[endpoint], field, value)
        document = assert_problem(service.post(endpoint, body), 422, "invalid-request", pointer)
        assert len(document["errors"]) == 1


@pytest.mark.parametrize("endpoint", COUNTED)
@pytest.mark.parametrize("k", ["0", "-1", str(MAX_K + 1), "true", "1.0", "1e1", '"3"', "null", "[3]", "1" + "0" * 400])
def test_k_outside_its_limits_is_refused(service, endpoint, k):
    """Case 37."""
    body = json.dumps(bodies()[endpoint])[:-1] + f', "k": {k}}}'

    assert_problem(service.post(endpoint, body.encode()), 422, "invalid-request", "/k")


@pytest.mark.parametrize("endpoint", [*CHOOSING, "/similar/users"])
def test_k_beyond_what_there_is_gives_all_of_it(service, endpoint):
    """Case 38; the item or user itself is never near itself, nor is a history's own item recommended."""
    body = {field: value for field, value in bodies()[endpoint].items() if field not in ("exclude_item_ids", "candidate_item_ids")}
    left_out = {"/recommend/history": {0, 1, 2}, "/similar/items": {0}, "/similar/users": {0}}.get(endpoint, set())

    everything = range(USERS if endpoint == "/similar/users" else ITEMS)
    assert set(everything) - left_out == set(ids(service.post(endpoint, {**body, "k": MAX_K})))


@pytest.mark.parametrize(("endpoint", "field"), LIST_FIELDS)
def test_an_empty_list_is_an_error_where_something_must_be_in_it(service, endpoint, field):
    """Cases 41 and 42: no exclusions and no dislikes are the same as none sent."""
    body = bodies()[endpoint]
    response = service.post(endpoint, {**body, field: []})

    if field in ("exclude_item_ids", "negative_item_ids"):
        absent = {name: value for name, value in body.items() if name != field}
        assert response.status_code == 200
        assert service.post(endpoint, absent).content == response.content
    else:
        assert_problem(response, 422, "invalid-request", f"/{field}")


@pytest.mark.parametrize("endpoint", CHOOSING)
def test_duplicates_in_exclusions_and_candidates_change_nothing(service, endpoint):
    """Case 43."""
    once = {**bodies()[endpoint], "candidate_item_ids": [3, 4, 6], "exclude_item_ids": [6]}
    twice = {**once, "candidate_item_ids": [6, 3, 3, 4, 6, 4], "exclude_item_ids": [6, 6]}

    assert service.post(endpoint, once).content == service.post(endpoint, twice).content
    assert {3, 4} == set(ids(service.post(endpoint, twice)))


def test_who_is_asked_for_twice_is_answered_twice(service):
    """In the order asked."""
    batch = service.post("/recommend/batch", {"user_ids": [1, 0, 1], "k": 2}).json()["results"]
    scores = service.post("/score", {"user_id": 0, "item_ids": [3, 0, 3, 99, 0, 99]}).json()

    assert [(one["user_id"], [item["item_id"] for item in one["items"]]) for one in batch] == [
        (1, [1, 3]),
        (0, [0, 2]),
        (1, [1, 3]),
    ]
    assert [(one["item_id"], one["score"]) for one in scores["items"]] == [(3, 0), (0, 1), (3, 0), (0, 1)]
    assert scores["missing_item_ids"] == [99, 99]


@pytest.mark.parametrize(("endpoint", "field"), [*LIST_FIELDS, ("/recommend/history", "weights"), ("/recommend/history", "vector")])
def test_a_list_over_the_limit_is_refused_as_a_whole(service, endpoint, field):
    """Case 44: one finding for the list, not one for each member; at the limit it is read."""
    body = bodies()[endpoint]
    refused = service.post(endpoint, {**body, field: [None] * (MAX_LIST + 1)})

    assert len(assert_problem(refused, 422, "invalid-request", f"/{field}")["errors"]) == 1
    read = assert_problem(service.post(endpoint, {**body, field: [None] * MAX_LIST}), 422, "invalid-request", f"/{field}/0")
    assert len(read["errors"]) == 20


@pytest.mark.parametrize("endpoint", CHOOSING)
def test_nothing_left_is_an_empty_answer_and_little_left_a_short_one(service, endpoint):
    """Cases 46 to 48: what is excluded stays out, candidate or not."""
    body = bodies()[endpoint]

    assert ids(service.post(endpoint, {**body, "exclude_item_ids": list(range(ITEMS))})) == []
    assert ids(service.post(endpoint, {**body, "candidate_item_ids": [3], "exclude_item_ids": [3]})) == []
    assert ids(service.post(endpoint, {**body, "candidate_item_ids": [5, 4, 3], "exclude_item_ids": [4, 3], "k": 3})) == [5]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_only_an_object_with_known_fields_is_taken(service, endpoint):
    """Cases 24 and 25; a missing field is named, an unknown one is not repeated."""
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
    """Cases 18 to 23, at any depth, whether or not the endpoint knows the field."""
    body = json.dumps(bodies()[endpoint])

    assert_problem(service.post(endpoint, f"{body[:-1]}, {member}}}".encode()), 400, "malformed-json")
    assert service.post(endpoint, body.encode()).status_code == 200


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_body_that_is_not_one_utf_8_document_is_a_400(service, endpoint):
    """Cases 18 and 26."""
    body = json.dumps(bodies()[endpoint])
    for sent in (
        b"",
        body[:-1].encode(),
        (body + " x").encode(),
        (body * 2).encode(),
        b"\xef\xbb\xbf" + body.encode(),
        body.encode("utf-16"),
    ):
        assert_problem(service.post(endpoint, sent), 400, "malformed-json")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_another_media_type_or_a_compressed_body_is_a_415(service, endpoint):
    """Cases 12, 13 and 16."""
    for headers in (
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Encoding": "gzip"},
    ):
        assert_problem(service.post(endpoint, bodies()[endpoint], **headers), 415, "unsupported-media-type")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_body_too_large_is_a_413(even_bundles, endpoint):
    """Case 1."""
    with Application(lambda: load_model(even_bundles[0]), max_body_bytes=300) as application:
        body = json.dumps(bodies()[endpoint]).encode()
        assert_problem(application.wait_ready().post(endpoint, body + b" " * 300), 413, "body-too-large")
        assert application.post(endpoint, body).status_code == 200


@pytest.mark.parametrize(("endpoint", "schema"), SCHEMAS.items())
@pytest.mark.parametrize("model", IDS)
def test_answers_are_what_the_schema_says_and_nothing_more(service, endpoint, schema, model):
    """With everything asked for that can stand in them."""
    body = bodies(model)[endpoint]
    if "include" in schema_of(service, endpoint):
        rich = ["metadata"] if endpoint in ("/similar/items", "/explain") else ["metadata", "explanation"]
        body = {**body, "include": rich}
    response = service.post(endpoint, body)

    assert response.status_code == 200, response.text
    read = schema.model_validate_json(response.content, strict=True)
    assert read.model_dump(mode="json", exclude_none=True) == response.json()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_another_method_is_a_405_that_names_the_right_one(service, endpoint):
    """Case 14."""
    for method in ("GET", "PUT", "DELETE"):
        response = service.request(method, endpoint)
        assert_problem(response, 405, "method-not-allowed")
        assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_model_that_is_not_served_is_a_404_whatever_else_is_wrong(service, endpoint):
    body = {**bodies()[endpoint], "model": "films"}

    assert_problem(service.post(endpoint, body), 404, "unknown-model", "/model")
    field = next(iter(body))
    assert_problem(service.post(endpoint, {**body, **having(body, field, 10**9)[0]}), 404, "unknown-model", "/model")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_spent_deadline_is_a_504_and_a_wrong_one_a_422(service, endpoint):
    """Case 71."""
    assert_problem(service.post(endpoint, bodies()[endpoint], **{"X-Request-Timeout-Ms": "0"}), 504, "deadline-exceeded")
    assert_problem(service.post(endpoint, bodies()[endpoint], **{"X-Request-Timeout-Ms": "1.5"}), 422, "invalid-request")


def test_every_json_endpoint_of_the_schema_is_among_those_asked_here(service):
    documented = service.get("/openapi.json").json()["paths"]

    assert set(ENDPOINTS) == {path for path, methods in documented.items() if "requestBody" in methods.get("post", {})}
