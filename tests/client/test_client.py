"""The client of `recoserve.client`, sync and async alike, against a real service and against replies that one gives seldom."""

import asyncio
import inspect
import json
import pickle
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest

from recoserve import client as names
from recoserve.client import (
    AsyncClient,
    Clauses,
    Client,
    ClientError,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    NotReady,
    Overloaded,
    ServiceProblem,
    TimedOut,
    UnexpectedAnswer,
    UnknownId,
    UnknownModel,
    calls,
)
from recoserve.client.errors import CLASSES
from recoserve.client.reply import retry_after
from recoserve.demo import BUNDLE
from recoserve.recommend import requests
from recoserve.web import problems, schemas
from tests.client.scripted import ANSWER, CUT, MODEL, Say, answering, problem, scripted
from tests.server import serving

REQUESTS = {
    "recommend": requests.RecommendRequest,
    "recommend_batch": requests.BatchRequest,
    "recommend_history": requests.HistoryRequest,
    "similar_items": requests.SimilarItemsRequest,
    "similar_users": requests.SimilarUsersRequest,
    "score": requests.ScoreRequest,
    "explain": requests.ExplainRequest,
}
PLAIN = {"verify": False}  # no certificates to read for each of many clients
FREE = MappingProxyType({})
HTML = "<html><h1>Bad gateway</h1></html>"


@pytest.fixture(params=[Client, AsyncClient])
def ask(request):
    """`ask(url, method, …)`: one call by a client of its own; `client` holds the client's own options."""

    def waited(url, method, *args, client=FREE, **fields):
        with Client(url, **PLAIN, **client) as one:
            return getattr(one, method)(*args, **fields)

    def awaited(url, method, *args, client=FREE, **fields):
        async def call():
            async with AsyncClient(url, **PLAIN, **client) as one:
                return await getattr(one, method)(*args, **fields)

        return asyncio.run(call())

    return waited if request.param is Client else awaited


@pytest.fixture(scope="module")
def demo():
    with serving(BUNDLE) as server:
        yield server


class TestShape:
    @pytest.mark.parametrize("name", REQUESTS)
    def test_a_method_takes_what_its_endpoint_takes(self, name):
        parameters = set(inspect.signature(getattr(calls, name)).parameters)

        assert set(REQUESTS[name].model_fields) | {"timeout", "request_id"} == parameters

    def test_a_filter_has_the_clauses_of_the_service(self):
        assert {field.alias or name for name, field in requests.Clauses.model_fields.items()} == set(Clauses.__annotations__)

    @pytest.mark.parametrize("name", [*REQUESTS, "model", "health", "ready"])
    def test_both_clients_show_the_same_parameters_answer_and_words(self, name):
        waiting, awaiting = getattr(Client, name), getattr(AsyncClient, name)

        assert inspect.signature(waiting) == inspect.signature(awaiting)
        assert waiting.__doc__ == awaiting.__doc__ is not None
        assert inspect.iscoroutinefunction(awaiting) and not inspect.iscoroutinefunction(waiting)

    def test_every_problem_type_of_the_service_has_its_class(self):
        kinds = [*problems.KINDS.values(), *problems.BY_STATUS.values(), problems.INTERNAL]

        assert {kind.type for kind in kinds} <= set(CLASSES)

    def test_a_class_is_named_like_its_type_and_exported(self):
        for problem_type, kind in CLASSES.items():
            assert "/problems/" + re.sub(r"(?<!^)([A-Z])", r"-\1", kind.__name__).lower() == problem_type
            assert getattr(names, kind.__name__) is kind


class TestRequests:
    def test_what_is_not_given_is_left_out(self, ask):
        with scripted(answering()) as server:
            ask(server.url, "recommend", 42)

            (asked,) = server.asked
            assert (asked.method, asked.path, asked.body) == ("POST", "/recommend", {"user_id": 42})
            assert asked.headers["content-type"] == "application/json"

    def test_what_is_given_goes_by_its_name_sets_arrays_and_generators_as_lists(self, ask):
        with scripted(answering()) as server:
            ask(
                server.url,
                "recommend",
                np.int64(42),
                k=3,
                exclude_item_ids={5},
                exclude_seen=False,
                candidate_item_ids=np.array([1, 2]),
                filter={"year": {"gte": 1990, "in": range(1990, 1992)}},
                diversity=0.5,
                include=(name for name in ("metadata",)),
                fallback="popular",
                model="films",
            )

            assert server.asked[0].body == {
                "user_id": 42,
                "k": 3,
                "exclude_item_ids": [5],
                "exclude_seen": False,
                "candidate_item_ids": [1, 2],
                "filter": {"year": {"gte": 1990, "in": [1990, 1991]}},
                "diversity": 0.5,
                "include": ["metadata"],
                "fallback": "popular",
                "model": "films",
            }

    @pytest.mark.parametrize(
        ("method", "path", "given", "answer", "kind"),
        [
            ("recommend", "/recommend", {"user_id": 42}, ANSWER, schemas.RecommendResponse),
            (
                "recommend_batch",
                "/recommend/batch",
                {"user_ids": [42, 9], "strict": False},
                {"results": [{"user_id": 42, "items": []}], "missing_user_ids": [9], "model": MODEL},
                schemas.BatchResponse,
            ),
            (
                "recommend_history",
                "/recommend/history",
                {"item_ids": [1], "negative_item_ids": [2], "weights": [0.5]},
                {"items": [{"item_id": 3, "score": 1.0, "metadata": {"title": "Film"}}], "model": MODEL},
                schemas.HistoryResponse,
            ),
            (
                "similar_items",
                "/similar/items",
                {"item_id": "a", "k": 1},
                {"item_id": "a", "items": [{"item_id": "b", "score": 0.9}], "model": MODEL},
                schemas.SimilarItemsResponse,
            ),
            (
                "similar_users",
                "/similar/users",
                {"user_id": 1, "k": 1},
                {"user_id": 1, "users": [{"user_id": 2, "score": 0.9}], "model": MODEL},
                schemas.SimilarUsersResponse,
            ),
            (
                "score",
                "/score",
                {"user_id": 1, "item_ids": [5, 6]},
                {"user_id": 1, "items": [{"item_id": 5, "score": 0.25}], "missing_item_ids": [6], "model": MODEL},
                schemas.ScoreResponse,
            ),
            (
                "explain",
                "/explain",
                {"user_id": 1, "item_id": 5, "include": ["metadata"]},
                {"user_id": 1, "item_id": 5, "score": 1, "items": [{"item_id": 6, "cosine": 0.5, "share": 1}], "model": MODEL},
                schemas.ExplainResponse,
            ),
        ],
    )
    def test_each_endpoint_is_posted_to_and_its_answer_typed(self, ask, method, path, given, answer, kind):
        with scripted(answering(answer)) as server:
            found = ask(server.url, method, **given)

            assert (server.asked[0].path, server.asked[0].body) == (path, given)
            assert found == kind.model_validate(answer)

    def test_another_model_is_described_by_name(self, ask):
        with scripted(problem("unknown-model", 404)) as server:
            with pytest.raises(UnknownModel):
                ask(server.url, "model", "films & more")

            asked = urlsplit(server.asked[0].path)
            assert (server.asked[0].method, asked.path) == ("GET", "/model")
            assert parse_qs(asked.query) == {"model": ["films & more"]}

    def test_key_headers_and_request_id_go_along_with_every_attempt(self, ask):
        with scripted(problem("overloaded", 503), answering()) as server:
            ask(server.url, "recommend", 42, request_id="r-1", client={"api_key": "k3y", "headers": {"X-Team": "search"}})

            assert len(server.asked) == 2
            for asked in server.asked:
                found = [asked.headers[name] for name in ("authorization", "x-team", "x-request-id")]
                assert found == ["Bearer k3y", "search", "r-1"]

    def test_the_address_may_have_a_path(self, ask):
        with scripted(answering()) as server:
            ask(server.url + "/books/", "recommend", 42)

            assert server.asked[0].path == "/books/recommend"

    def test_an_answer_of_a_newer_service_may_hold_more(self, ask):
        with scripted(answering({**ANSWER, "confidence": 1})) as server:
            assert ask(server.url, "recommend", 42).items[0].item_id == 7

    def test_what_json_has_no_form_for_is_not_sent(self, ask):
        with scripted(answering()) as server:
            with pytest.raises(TypeError, match="not JSON serializable"):
                ask(server.url, "recommend", object())

            assert server.asked == []


class TestErrors:
    @pytest.mark.parametrize("problem_type", CLASSES)
    def test_every_problem_is_raised_as_its_class(self, ask, problem_type):
        with scripted(problem(problem_type.removeprefix("/problems/"), 422)) as server:
            with pytest.raises(ServiceProblem) as raised:
                ask(server.url, "recommend", 42, client={"retries": 0})

            assert type(raised.value) is CLASSES[problem_type]

    def test_a_problem_tells_all_that_its_document_holds(self, ask):
        fields = [{"pointer": "/k", "detail": "must be in [1, 1000]"}]
        with (
            scripted(problem("invalid-request", 422, errors=fields, title="Invalid request")) as server,
            pytest.raises(InvalidRequest) as raised,
        ):
            ask(server.url, "recommend", 42)

        error = raised.value
        assert (error.type, error.status) == ("/problems/invalid-request", 422)
        assert (error.title, error.detail) == ("Invalid request", "as told")
        assert [(found.pointer, found.detail) for found in error.errors] == [("/k", "must be in [1, 1000]")]
        assert (error.request_id, error.retry_after) == ("r1", None)
        assert str(error) == "422 Invalid request: as told; /k: must be in [1, 1000] (request r1)"

    def test_a_type_of_a_newer_service_is_the_base_class(self, ask):
        with scripted(problem("too-early", 425)) as server, pytest.raises(ServiceProblem) as raised:
            ask(server.url, "recommend", 42)

        assert (type(raised.value), raised.value.type, raised.value.status) == (ServiceProblem, "/problems/too-early", 425)

    def test_a_gateways_own_problem_document_may_leave_members_out(self, ask):
        sparse = Say(
            429, '{"title": "Slow down"}', {"Retry-After": "7", "X-Request-ID": "g1"}, "application/problem+json; charset=utf-8"
        )
        with scripted(sparse) as server, pytest.raises(ServiceProblem) as raised:
            ask(server.url, "recommend", 42)

        error = raised.value
        assert (error.type, error.status, error.title) == ("about:blank", 429, "Slow down")
        assert (error.request_id, error.retry_after) == ("g1", 7.0)

    @pytest.mark.parametrize(
        "reply",
        [
            Say(502, HTML, content_type="text/html"),
            Say(503, HTML, {"Retry-After": "0"}, "text/html"),
            Say(200, HTML, content_type="text/html"),
            Say(200, '{"items": []}'),
            Say(302, "", {"Location": "/login"}),
            Say(500, "[1]", content_type="application/problem+json"),
            Say(500, '{"type": 1}', content_type="application/problem+json"),
            Say(500, '{"type": ', content_type="application/problem+json"),
        ],
    )
    def test_what_is_no_answer_and_no_problem_document_is_told_as_it_came_and_not_tried_again(self, ask, reply):
        with scripted(reply) as server:
            with pytest.raises(UnexpectedAnswer) as raised:
                ask(server.url, "recommend", 42)

            assert len(server.asked) == 1
        assert (raised.value.status, raised.value.excerpt) == (reply.status, reply.body)

    def test_a_body_in_a_broken_encoding_is_an_error_of_the_client(self, ask):
        with scripted(Say(200, "{}", {"Content-Encoding": "gzip"})) as server, pytest.raises(ClientError, match="could not be"):
            ask(server.url, "recommend", 42)

    def test_errors_that_python_knows_are_its_own_too(self):
        assert issubclass(TimedOut, TimeoutError) and issubclass(DeadlineExceeded, TimeoutError)
        assert issubclass(ConnectionFailed, ConnectionError)

    @pytest.mark.parametrize("retry", [None, 1.5])
    def test_an_error_travels_between_processes(self, retry):
        document = schemas.Problem(
            type="/problems/deadline-exceeded", title="t", status=504, detail="d", instance="/requests/r", request_id="r"
        )
        for error in (DeadlineExceeded(document, retry), UnexpectedAnswer(502, HTML, "r"), TimedOut("late", "r")):
            again = pickle.loads(pickle.dumps(error))  # noqa: S301
            assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))

    @pytest.mark.parametrize(
        ("url", "options", "words"),
        [
            ("localhost:8000", {}, "base_url"),
            ("ftp://localhost", {}, "base_url"),
            ("http://[::1", {}, "base_url"),
            ("http://localhost", {"timeout": 0}, "timeout"),
            ("http://localhost", {"timeout": float("nan")}, "timeout"),
            ("http://localhost", {"retries": -1}, "retries"),
        ],
    )
    @pytest.mark.parametrize("kind", [Client, AsyncClient])
    def test_what_can_not_be_meant_is_refused_before_any_call(self, kind, url, options, words):
        with pytest.raises(ValueError, match=words):
            kind(url, **options)

    @pytest.mark.parametrize("options", [{"timeout": -1.0}, {"timeout": float("inf")}, {"request_id": "a\nb"}, {"request_id": ""}])
    def test_so_is_a_calls_own(self, ask, options):
        with pytest.raises(ValueError, match=next(iter(options))):
            ask("http://127.0.0.1:9", "recommend", 42, **options)


class TestRetries:
    @pytest.mark.parametrize("slug", ["overloaded", "not-ready"])
    def test_a_busy_service_is_asked_again_after_the_time_that_it_names(self, ask, slug):
        with scripted(problem(slug, 503, {"Retry-After": "1"}), answering()) as server:
            started = time.monotonic()
            found = ask(server.url, "recommend", 42)

            assert 1.0 <= time.monotonic() - started < 2.0
            assert (found.user_id, len(server.asked)) == (42, 2)

    def test_without_a_time_it_is_asked_again_soon(self, ask):
        with scripted(problem("overloaded", 503), problem("overloaded", 503), answering()) as server:
            started = time.monotonic()
            ask(server.url, "recommend", 42)

            assert time.monotonic() - started < 1.0
            assert len(server.asked) == 3

    @pytest.mark.parametrize("retries", [0, 1, 2])
    def test_tries_are_counted(self, ask, retries):
        with scripted(problem("overloaded", 503)) as server:
            with pytest.raises(Overloaded):
                ask(server.url, "recommend", 42, client={"retries": retries})

            assert len(server.asked) == 1 + retries

    def test_a_pause_that_would_outlast_the_call_is_not_begun(self, ask):
        with scripted(problem("overloaded", 503, {"Retry-After": "3"})) as server:
            started = time.monotonic()
            with pytest.raises(Overloaded) as raised:
                ask(server.url, "recommend", 42, timeout=2.5)

            assert time.monotonic() - started < 1.0
            assert (raised.value.retry_after, len(server.asked)) == (3.0, 1)

    def test_a_cut_connection_is_made_again(self, ask):
        with scripted(CUT, answering()) as server:
            assert ask(server.url, "recommend", 42).user_id == 42
            assert (len(server.asked), server.connections) == (2, 2)

    def test_an_answer_cut_midway_is_asked_for_again(self, ask):
        half = Say(200, json.dumps(ANSWER), {"Content-Length": 1000, "Connection": "close"})
        with scripted(half, answering()) as server:
            assert ask(server.url, "recommend", 42).user_id == 42
            assert len(server.asked) == 2

    def test_a_connection_that_is_always_cut_is_told_with_the_request_id(self, ask):
        with scripted(CUT) as server:
            with pytest.raises(ConnectionFailed) as raised:
                ask(server.url, "recommend", 42, request_id="r-2")

            assert (len(server.asked), raised.value.request_id) == (3, "r-2")

    def test_nobody_there_is_a_failed_connection(self, ask):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        with pytest.raises(ConnectionFailed, match="connection failed"):
            ask(f"http://127.0.0.1:{port}", "recommend", 42)

    @pytest.mark.parametrize("slug", ["internal", "deadline-exceeded", "invalid-request", "unknown-id", "reload-in-progress"])
    def test_nothing_else_is_tried_again(self, ask, slug):
        with scripted(problem(slug, 500, {"Retry-After": "0"})) as server:
            with pytest.raises(ServiceProblem):
                ask(server.url, "recommend", 42)

            assert len(server.asked) == 1

    def test_a_probe_tells_what_is_so_now(self, ask):
        with scripted(problem("not-ready", 503, {"Retry-After": "1"})) as server, pytest.raises(NotReady):
            ask(server.url, "health")
            assert ask(server.url, "ready") is False

            assert [asked.path for asked in server.asked] == ["/health", "/readyz"]

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [("0", 0), ("120", 120), (" 3 ", 3), ("", None), ("soon", None), ("-1", None), ("1.5", None), ("²", None)],
    )
    def test_retry_after_is_whole_seconds_or_nothing(self, value, seconds):
        assert retry_after(httpx.Headers({"Retry-After": value.encode("utf-8")})) == seconds

    @pytest.mark.parametrize(("ahead", "low", "high"), [(30, 28, 30), (-30, 0, 0)])
    def test_retry_after_may_be_a_date_and_one_that_is_past_is_now(self, ahead, low, high):
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)

        assert low <= retry_after(httpx.Headers({"Retry-After": date})) <= high


class TestDeadlines:
    def test_each_attempt_tells_what_is_left_of_the_calls_time(self, ask):
        with scripted(problem("overloaded", 503, {"Retry-After": "1"}), answering()) as server:
            ask(server.url, "recommend", 42, timeout=4.0)

            first, second = (int(asked.headers["x-request-timeout-ms"]) for asked in server.asked)
            assert 3000 < first <= 4000
            assert 1000 < second <= first - 1000

    def test_the_clients_time_holds_where_a_call_names_none(self, ask):
        with scripted(answering()) as server:
            ask(server.url, "recommend", 42, client={"timeout": 2.0})
            ask(server.url, "recommend", 42, timeout=1e9)

            told = [int(asked.headers["x-request-timeout-ms"]) for asked in server.asked]
            assert 1000 < told[0] <= 2000
            assert told[1] == 999_999_999

    def test_a_service_that_says_nothing_is_given_up_once(self, ask):
        with scripted(answering(delay=3.0)) as server:
            started = time.monotonic()
            with pytest.raises(TimedOut, match=r"0\.3 s") as raised:
                ask(server.url, "recommend", 42, timeout=0.3, request_id="r-3")

            assert 0.3 <= time.monotonic() - started < 1.5
            assert (len(server.asked), raised.value.request_id) == (1, "r-3")

    def test_an_answer_that_trickles_in_is_given_up_too(self, ask):
        with scripted(answering(pause=0.1)) as server:
            started = time.monotonic()
            with pytest.raises(TimedOut):
                ask(server.url, "recommend", 42, timeout=0.3)

            assert time.monotonic() - started < 1.5

    def test_the_services_own_504_comes_first(self, ask):
        late = problem("deadline-exceeded", 504)._replace(delay=0.35)
        with scripted(late) as server, pytest.raises(DeadlineExceeded):
            ask(server.url, "recommend", 42, timeout=0.3)


class TestConnections:
    def test_a_hundred_calls_take_one_connection(self):
        with scripted(answering()) as server, Client(server.url) as client:
            for _ in range(100):
                client.recommend(42)

            assert (len(server.asked), server.connections) == (100, 1)

    def test_a_hundred_awaited_calls_take_one_connection(self):
        async def calls_in_turn(url):
            async with AsyncClient(url) as client:
                for _ in range(100):
                    await client.recommend(42)

        with scripted(answering()) as server:
            asyncio.run(calls_in_turn(server.url))

            assert (len(server.asked), server.connections) == (100, 1)

    def test_a_problem_keeps_the_connection(self):
        with scripted(problem("unknown-id", 422), answering()) as server, Client(server.url) as client:
            with pytest.raises(ServiceProblem):
                client.recommend(1)
            client.recommend(42)

            assert server.connections == 1


class TestAgainstTheService:
    def test_the_answer_is_the_services(self, demo, ask):
        found = ask(demo.url, "recommend", 42, k=5, exclude_seen=True, include=["metadata"])

        assert (
            found.model_dump(exclude_none=True) == demo.recommend(user_id=42, k=5, exclude_seen=True, include=["metadata"]).json()
        )
        assert len(found.items) == 5

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("recommend", "/recommend", {"user_id": 999, "fallback": "popular", "k": 2}),
            ("recommend_batch", "/recommend/batch", {"user_ids": [42, 999, 7], "k": 3, "include": ["explanation"]}),
            ("recommend_history", "/recommend/history", {"item_ids": [85, 2], "weights": [2, 1], "negative_item_ids": [17]}),
            ("recommend_history", "/recommend/history", {"vector": [0.5] * 24, "k": 3, "diversity": 0.5}),
            ("similar_items", "/similar/items", {"item_id": 85, "filter": {"year": {"in": [1970, 1952]}}, "include": ["metadata"]}),
            ("similar_users", "/similar/users", {"user_id": 42, "k": 3}),
            ("score", "/score", {"user_id": 42, "item_ids": [85, 9999, 2]}),
            ("explain", "/explain", {"user_id": 42, "item_id": 85, "k": 2, "include": ["metadata"]}),
        ],
    )
    def test_every_endpoint_answers_as_it_does_to_anybody(self, demo, ask, method, path, body):
        found = ask(demo.url, method, **body)

        assert found.model_dump(exclude_none=True) == httpx.post(demo.url + path, json=body).json()

    def test_the_model_its_health_and_readiness(self, demo, ask):
        described = ask(demo.url, "model")

        assert (described.name, described.users.count, described.items.count) == ("library", 200, 300)
        assert ask(demo.url, "model", described.name) == described
        assert ask(demo.url, "health").status == "ready"
        assert ask(demo.url, "ready") is True

    def test_a_users_mistake_names_the_field_and_the_request(self, demo, ask):
        with pytest.raises(InvalidRequest) as raised:
            ask(demo.url, "recommend", 42, k=0, request_id="mine.1")

        assert [found.pointer for found in raised.value.errors] == ["/k"]
        assert raised.value.request_id == "mine.1"
        with pytest.raises(UnknownId, match="from 1 to 200"):
            ask(demo.url, "recommend", 201)
        with pytest.raises(UnknownModel):
            ask(demo.url, "model", "films")

    def test_a_text_where_a_list_belongs_is_the_services_422(self, demo, ask):
        with pytest.raises(InvalidRequest) as raised:
            ask(demo.url, "recommend", 42, exclude_item_ids="abc")

        assert [found.pointer for found in raised.value.errors] == ["/exclude_item_ids"]

    def test_a_call_without_time_is_out_of_time(self, demo, ask):
        with pytest.raises(TimeoutError):
            ask(demo.url, "recommend", 42, timeout=1e-6)

    def test_a_full_queue_is_told_with_the_time_to_wait(self):
        async def crowd(client):
            return await asyncio.gather(*(client.recommend(user) for user in range(1, 51)), return_exceptions=True)

        async def crowds(url):
            async with AsyncClient(url, retries=0) as client:
                return next((found for found in [await crowd(client) for _ in range(5)] if not answered(found)), [])

        def answered(found):
            return all(isinstance(one, schemas.RecommendResponse) for one in found)

        with serving(BUNDLE, RECOSERVE_MAX_QUEUE_ROWS="1") as busy:
            refused = [one for one in asyncio.run(crowds(busy.url)) if not isinstance(one, schemas.RecommendResponse)]

        assert {(type(one), one.retry_after) for one in refused} == {(Overloaded, 1.0)}

    def test_threads_share_a_client(self, demo):
        with Client(demo.url) as client, ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda user: client.recommend(user, k=1 + user % 7), range(1, 201)))

        assert [(answer.user_id, len(answer.items)) for answer in answers] == [(user, 1 + user % 7) for user in range(1, 201)]

    def test_many_at_once_get_each_their_own(self, demo):
        async def everybody():
            async with AsyncClient(demo.url) as client:
                return await asyncio.gather(*(client.recommend(user, k=1 + user % 7) for user in range(1, 201)))

        answers = asyncio.run(everybody())

        assert [(answer.user_id, len(answer.items)) for answer in answers] == [(user, 1 + user % 7) for user in range(1, 201)]
