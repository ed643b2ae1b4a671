"""A body that is not one strict JSON document is refused, whatever its schema."""

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoserve import strict_json
from recoserve.errors import MalformedJson, RequestError
from recoserve.recommend.requests import RecommendRequest
from recoserve.settings import Settings
from recoserve.web.json_body import parse_request
from tests.fakes import fake_model
from tests.web.http import Application, assert_problem, item_ids

LIMITS = Settings(max_k=9, max_list_ids=2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)

BAD = {
    "empty": b"",
    "truncated": b'{"user_id": 1',
    "trailing junk": b'{"user_id": 1} x',
    "two documents": b'{"user_id": 1}{"user_id": 1}',
    "deep": b"[" * 100_000,
    "deep and closed": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "5,000 digits": b'{"user_id": ' + b"9" * 5000 + b"}",
    "NaN": b'{"user_id": NaN}',
    "Infinity": b'{"user_id": -Infinity}',
    "lone surrogate": b'{"user_id": "\\ud800"}',
    "lone surrogate in a key": b'{"\\udfff": 1}',
    "duplicate keys": b'{"user_id": 1, "user_id": 2}',
    "duplicate keys below": b'{"user_id": {"a": 1, "a": 1}}',
    "byte order mark": b'\xef\xbb\xbf{"user_id": 1}',
    "UTF-16": '{"user_id": 1}'.encode("utf-16"),
    "UTF-16 without mark": '{"user_id": 1}'.encode("utf-16-le"),
    "Latin-1": '{"user_id": "é"}'.encode("latin-1"),
    "single quotes": b"{'user_id': 1}",
    "comment": b'{"user_id": 1 /* me */}',
    "control character": b'{"user_id": "\x01"}',
}


@pytest.fixture(scope="module")
def service():
    with Application(fake_model) as application:
        yield application.wait_ready()


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
def test_malformed_json_is_a_400_and_the_next_request_is_answered(service, body):
    assert_problem(service.send(body), 400, "malformed-json")
    assert item_ids(service.recommend(user_id=1, k=1)) == [1]


def test_a_number_too_large_for_a_float_is_refused(service):
    """It parses to infinity, which no field accepts."""
    assert_problem(service.send(b'{"user_id": 1e400}'), 422, "invalid-request", "/user_id")


def test_a_pair_of_surrogate_escapes_is_one_character():
    assert strict_json.parse(b'{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}


@given(JSON)
def test_every_json_document_is_parsed_to_what_was_written(document):
    """Law: parse(dump(x)) == x."""
    assert document == strict_json.parse(json.dumps(document).encode())


@given(st.binary(max_size=200))
def test_bytes_that_are_no_json_raise_malformed_json_and_nothing_else(body):
    """Law: every byte string parses or is MalformedJson."""
    try:
        strict_json.parse(body)
    except MalformedJson as error:
        assert str(error)


FIELDS = ["user_id", "k", "exclude_item_ids", "exclude_seen", "candidate_item_ids", "include", "surprise"]
IDS = st.integers(-2, 10) | st.integers() | JSON
NEARLY = st.fixed_dictionaries({"user_id": st.integers(0, 5)}) | st.dictionaries(
    st.sampled_from(FIELDS), JSON | st.lists(IDS) | IDS
)


@settings(max_examples=500)
@given(JSON | NEARLY)
def test_no_json_document_gives_a_500(service, document):
    """Law: whatever a client sends is answered with a 200, or with a 422 that blames the request."""
    response = service.recommend(document)

    assert response.status_code in (200, 422)
    if response.status_code == 422:
        assert_problem(response, 422, json.loads(response.content)["type"].rsplit("/", 1)[1])


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_no_bytes_give_a_500(service, body):
    assert service.send(body).status_code in (200, 400, 422)


SPACE = st.sampled_from(["", " ", "\n", "\t "])
NUMBERS = st.sampled_from(
    ["1", "-1", "0", "01", "-0", "1.0", "1e2", "1e400", "NaN", "-Infinity", str(2**63), str(2**64), "9" * 40, "9" * 5000]
)
STRINGS = st.sampled_from(['"a"', '"a:b"', '"\\u0061"', '"\\ud800"', '"\\ud83d\\ude00"', '"é"', '"\\n"', '"\x01"', '""', '":"'])
VALUES = st.recursive(
    NUMBERS | STRINGS | st.sampled_from(["true", "false", "null", '"metadata"', "[]", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: "[" + ",".join(values) + "]")
        | st.tuples(STRINGS, inner).map(lambda pair: "{" + ":".join(pair) + "}")
    ),
    max_leaves=4,
)
KEYS = st.sampled_from([f'"{name}"' for name in FIELDS] + ['"user\\u005fid"', '"k:"', '"\\ud800"'])
MEMBERS = st.lists(st.tuples(SPACE, KEYS, SPACE, VALUES, SPACE), max_size=4)
OBJECTS = MEMBERS.map(lambda members: "{" + ",".join(f"{a}{key}{b}:{value}{c}" for a, key, b, value, c in members) + "}")
PLAUSIBLE = st.tuples(SPACE, st.just('"user_id":7'), MEMBERS).map(
    lambda body: "{" + ",".join([body[0] + body[1], *(f"{key}:{value}" for _, key, _, value, _ in body[2])]) + "}"
)
BODIES = (PLAUSIBLE | OBJECTS | VALUES).map(str.encode) | st.binary(max_size=50) | PLAUSIBLE.map(lambda text: text.encode("utf-16"))


def outcome(parse, body):
    """The request, or all that a client could see of its error."""
    try:
        return parse(body)
    except RequestError as error:
        return type(error), str(error), error.fields


@settings(max_examples=2000)
@given(BODIES)
def test_a_body_means_the_same_to_both_parsers(body):
    """Law: parse_request(body) == from_document(strict_json.parse(body)), the request or the error, whatever the bytes are."""
    actual = outcome(lambda content: parse_request(RecommendRequest, content, LIMITS), body)

    assert outcome(lambda content: RecommendRequest.from_document(strict_json.parse(content), LIMITS), body) == actual


@pytest.mark.parametrize(
    "body", [b'{"user_id": 1, "user_id": 2}', b'{"user_id":1,"user\\u005fid":2}', b'{"user_id":1,"k":5,"k":5}']
)
def test_a_duplicate_key_is_refused_however_it_is_written(body):
    with pytest.raises(MalformedJson, match="twice"):
        parse_request(RecommendRequest, body, LIMITS)


@pytest.mark.parametrize(
    "body", [b'{"user_id": "a:b"}', b'{"user_id": 1, "filter": {"genres": {"any": ["Sci-Fi: old"]}}}', b'{"user_id": ":"}']
)
def test_a_body_is_parsed_once_whatever_its_strings_hold(body, strict_parses):
    assert parse_request(RecommendRequest, body, LIMITS)
    assert strict_parses() == 0


@pytest.fixture
def strict_parses():
    """How often `strict_json`, the second parser, has been called since the test began."""
    calls = 0

    def count(frame, event, _):
        nonlocal calls
        calls += event == "call" and frame.f_code is strict_json.parse.__code__

    sys.setprofile(count)
    yield lambda: calls
    sys.setprofile(None)
