"""The clients, blocking and asynchronous alike, against a real service and against responses that one sends seldom."""

import asyncio
import inspect
import json
import pickle
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib.metadata import version
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest

import recoserve
from recoserve import client as public_names
from recoserve.client import (
    AsyncClient,
    Client,
    ClientError,
    ColumnFilter,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    NotReady,
    Overloaded,
    ServiceProblem,
    TimedOut,
    UnexpectedResponse,
    UnknownId,
    UnknownModel,
    calls,
)
from recoserve.client.errors import PROBLEM_CLASSES
from recoserve.client.responses import retry_after
from recoserve.demo import BUNDLE
from recoserve.recommend import requests
from recoserve.web import problems, schemas
from tests.client.scripted import CUT, MODEL, RESPONSE, Script, problem, scripted, success
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
WITHOUT_CERTIFICATES = {"verify": False}  # reading them takes most of the time of a test
NO_OPTIONS = MappingProxyType({})
HTML = "<html><h1>Bad gateway</h1></html>"


@pytest.fixture(params=[Client, AsyncClient])
def call(request):
    """`call(url, method, …)`: one call by a new client of either kind; `options` are the client's."""

    def blocking(url, method, *args, options=NO_OPTIONS, **fields):
        with Client(url, **WITHOUT_CERTIFICATES, **options) as client:
            return getattr(client, method)(*args, **fields)

    def asynchronous(url, method, *args, options=NO_OPTIONS, **fields):
        async def awaited():
            async with AsyncClient(url, **WITHOUT_CERTIFICATES, **options) as client:
                return await getattr(client, method)(*args, **fields)

        return asyncio.run(awaited())

    return blocking if request.param is Client else asynchronous


@pytest.fixture(scope="module")
def demo():
    with serving(BUNDLE) as server:
        yield server


class TestShape:
    @pytest.mark.parametrize("name", REQUESTS)
    def test_a_method_takes_what_its_endpoint_takes(self, name):
        parameters = set(inspect.signature(getattr(calls, name)).parameters)

        assert set(REQUESTS[name].model_fields) | {"timeout", "request_id"} == parameters

    def test_a_filter_has_the_operators_of_the_service(self):
        assert {field.alias or name for name, field in requests.Clauses.model_fields.items()} == set(ColumnFilter.__annotations__)

    @pytest.mark.parametrize("name", [*REQUESTS, "model", "health", "ready"])
    def test_both_clients_show_the_same_parameters_result_and_docstring(self, name):
        blocking, awaitable = getattr(Client, name), getattr(AsyncClient, name)

        assert inspect.signature(blocking) == inspect.signature(awaitable)
        assert blocking.__doc__ == awaitable.__doc__ is not None
        assert inspect.iscoroutinefunction(awaitable) and not inspect.iscoroutinefunction(blocking)

    @pytest.mark.parametrize("name", [*REQUESTS, "model", "health", "ready"])
    def test_a_docstring_names_every_parameter(self, name):
        documented = inspect.getdoc(getattr(Client, name)).partition("Parameters")[2].partition("Returns")[0]

        for parameter in inspect.signature(getattr(calls, name)).parameters:
            assert re.search(rf"^[\w, ]*\b{parameter}\b[\w, ]* :", documented, re.MULTILINE), parameter

    def test_every_problem_type_of_the_service_has_its_class(self):
        kinds = [*problems.TYPES.values(), *problems.BY_STATUS.values(), problems.INTERNAL]

        assert {kind.type for kind in kinds} <= set(PROBLEM_CLASSES)

    def test_a_class_is_named_like_its_type_and_exported(self):
        for problem_type, kind in PROBLEM_CLASSES.items():
            assert "/problems/" + re.sub(r"(?<!^)([A-Z])", r"-\1", kind.__name__).lower() == problem_type
            assert getattr(public_names, kind.__name__) is kind


class TestImports:
    @pytest.mark.parametrize("line", ["import recoserve.client", "from recoserve import AsyncClient, Client, __version__"])
    def test_the_client_imports_no_search_and_no_server(self, line):
        heavy = {"fastapi", "numpy", "onnxruntime", "prometheus_client", "pydantic_settings", "starlette", "typer", "uvicorn"}
        program = f"{line}; import sys; print(sorted({heavy} & set(sys.modules)))"

        assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"

    def test_the_package_imports_the_client_when_it_is_first_used(self):
        program = "import sys, recoserve; before = 'httpx' in sys.modules; recoserve.Client; print(before, 'httpx' in sys.modules)"

        assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False True\n"

    def test_the_package_shows_its_public_names_and_no_others(self):
        assert set(recoserve.__all__) <= set(dir(recoserve))
        assert recoserve.Client is Client and recoserve.__version__ == version("recoserve")
        with pytest.raises(AttributeError, match="no attribute 'Klient'"):
            recoserve.Klient  # noqa: B018


class TestRequests:
    def test_an_argument_that_is_left_out_is_not_sent(self, call):
        with scripted(success()) as server:
            call(server.url, "recommend", 42)

            (request,) = server.requests
            assert (request.method, request.path, request.body) == ("POST", "/recommend", {"user_id": 42})
            assert request.headers["content-type"] == "application/json"

    def test_arguments_are_sent_by_their_names_and_sets_arrays_and_generators_as_lists(self, call):
        with scripted(success()) as server:
            call(
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

            assert server.requests[0].body == {
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
        ("method", "path", "body", "document", "model"),
        [
            ("recommend", "/recommend", {"user_id": 42}, RESPONSE, schemas.RecommendResponse),
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
    def test_each_endpoint_is_posted_to_and_its_response_typed(self, call, method, path, body, document, model):
        with scripted(success(document)) as server:
            response = call(server.url, method, **body)

            assert (server.requests[0].path, server.requests[0].body) == (path, body)
            assert response == model.model_validate(document)

    def test_another_model_is_described_by_name(self, call):
        with scripted(problem("unknown-model", 404)) as server:
            with pytest.raises(UnknownModel):
                call(server.url, "model", "films & more")

            url = urlsplit(server.requests[0].path)
            assert (server.requests[0].method, url.path) == ("GET", "/model")
            assert parse_qs(url.query) == {"model": ["films & more"]}

    def test_key_headers_and_request_id_are_sent_with_every_attempt(self, call):
        with scripted(problem("overloaded", 503), success()) as server:
            call(server.url, "recommend", 42, request_id="r-1", options={"api_key": "k3y", "headers": {"X-Team": "search"}})

            assert len(server.requests) == 2
            for request in server.requests:
                sent = [request.headers[name] for name in ("authorization", "x-team", "x-request-id")]
                assert sent == ["Bearer k3y", "search", "r-1"]

    def test_the_address_may_have_a_path(self, call):
        with scripted(success()) as server:
            call(server.url + "/books/", "recommend", 42)

            assert server.requests[0].path == "/books/recommend"

    def test_a_response_of_a_newer_service_may_have_more_fields(self, call):
        with scripted(success({**RESPONSE, "confidence": 1})) as server:
            assert call(server.url, "recommend", 42).items[0].item_id == 7

    def test_a_value_that_json_can_not_express_is_a_type_error_before_anything_is_sent(self, call):
        with scripted(success()) as server:
            with pytest.raises(TypeError, match="not JSON serializable"):
                call(server.url, "recommend", object())

            assert server.requests == []


class TestErrors:
    @pytest.mark.parametrize("problem_type", PROBLEM_CLASSES)
    def test_every_problem_is_raised_as_its_class(self, call, problem_type):
        with scripted(problem(problem_type.removeprefix("/problems/"), 422)) as server:
            with pytest.raises(ServiceProblem) as raised:
                call(server.url, "recommend", 42, options={"retries": 0})

            assert type(raised.value) is PROBLEM_CLASSES[problem_type]

    def test_a_problem_has_everything_that_its_document_has(self, call):
        fields = [{"pointer": "/k", "detail": "must be in [1, 1000]"}]
        with (
            scripted(problem("invalid-request", 422, errors=fields, title="Invalid request")) as server,
            pytest.raises(InvalidRequest) as raised,
        ):
            call(server.url, "recommend", 42)

        error = raised.value
        assert (error.type, error.status) == ("/problems/invalid-request", 422)
        assert (error.title, error.detail) == ("Invalid request", "as scripted")
        assert [(field.pointer, field.detail) for field in error.errors] == [("/k", "must be in [1, 1000]")]
        assert (error.request_id, error.retry_after) == ("r1", None)
        assert str(error) == "422 Invalid request: as scripted; /k: must be in [1, 1000] (request r1)"

    def test_a_type_of_a_newer_service_is_the_base_class(self, call):
        with scripted(problem("too-early", 425)) as server, pytest.raises(ServiceProblem) as raised:
            call(server.url, "recommend", 42)

        assert (type(raised.value), raised.value.type, raised.value.status) == (ServiceProblem, "/problems/too-early", 425)

    def test_a_gateways_own_problem_document_may_leave_members_out(self, call):
        sparse = Script(
            429, '{"title": "Slow down"}', {"Retry-After": "7", "X-Request-ID": "g1"}, "application/problem+json; charset=utf-8"
        )
        with scripted(sparse) as server, pytest.raises(ServiceProblem) as raised:
            call(server.url, "recommend", 42)

        error = raised.value
        assert (error.type, error.status, error.title) == ("about:blank", 429, "Slow down")
        assert (error.request_id, error.retry_after) == ("g1", 7.0)

    @pytest.mark.parametrize(
        "script",
        [
            Script(502, HTML, content_type="text/html"),
            Script(503, HTML, {"Retry-After": "0"}, "text/html"),
            Script(200, HTML, content_type="text/html"),
            Script(200, '{"items": []}'),
            Script(302, "", {"Location": "/login"}),
            Script(500, "[1]", content_type="application/problem+json"),
            Script(500, '{"type": 1}', content_type="application/problem+json"),
            Script(500, '{"type": ', content_type="application/problem+json"),
        ],
    )
    def test_a_response_of_another_server_is_shown_as_it_came_and_not_tried_again(self, call, script):
        with scripted(script) as server:
            with pytest.raises(UnexpectedResponse) as raised:
                call(server.url, "recommend", 42)

            assert len(server.requests) == 1
        assert (raised.value.status, raised.value.excerpt) == (script.status, script.body)

    def test_a_body_in_a_broken_encoding_is_an_error_of_the_client(self, call):
        with scripted(Script(200, "{}", {"Content-Encoding": "gzip"})) as server, pytest.raises(ClientError, match="could not be"):
            call(server.url, "recommend", 42)

    def test_time_outs_and_failed_connections_are_also_pythons_own_errors(self):
        assert issubclass(TimedOut, TimeoutError) and issubclass(DeadlineExceeded, TimeoutError)
        assert issubclass(ConnectionFailed, ConnectionError)

    @pytest.mark.parametrize("retry", [None, 1.5])
    def test_an_error_can_be_pickled(self, retry):
        document = schemas.Problem(
            type="/problems/deadline-exceeded", title="t", status=504, detail="d", instance="/requests/r", request_id="r"
        )
        for error in (DeadlineExceeded(document, retry), UnexpectedResponse(502, HTML, "r"), TimedOut("late", "r")):
            unpickled = pickle.loads(pickle.dumps(error))  # noqa: S301
            assert (type(unpickled), str(unpickled), vars(unpickled)) == (type(error), str(error), vars(error))

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
    def test_options_that_make_no_sense_are_refused_before_any_call(self, kind, url, options, words):
        with pytest.raises(ValueError, match=words):
            kind(url, **options)

    @pytest.mark.parametrize("options", [{"timeout": -1.0}, {"timeout": float("inf")}, {"request_id": "a\nb"}, {"request_id": ""}])
    def test_a_calls_own_time_out_and_request_id_are_checked_before_it_is_sent(self, call, options):
        with pytest.raises(ValueError, match=next(iter(options))):
            call("http://127.0.0.1:9", "recommend", 42, **options)


class TestRetries:
    @pytest.mark.parametrize("slug", ["overloaded", "not-ready"])
    def test_a_busy_service_is_tried_again_after_the_time_that_it_asks_for(self, call, slug):
        with scripted(problem(slug, 503, {"Retry-After": "1"}), success()) as server:
            started = time.monotonic()
            response = call(server.url, "recommend", 42)

            assert 1.0 <= time.monotonic() - started < 2.0
            assert (response.user_id, len(server.requests)) == (42, 2)

    def test_without_a_retry_after_it_is_tried_again_soon(self, call):
        with scripted(problem("overloaded", 503), problem("overloaded", 503), success()) as server:
            started = time.monotonic()
            call(server.url, "recommend", 42)

            assert time.monotonic() - started < 1.0
            assert len(server.requests) == 3

    @pytest.mark.parametrize("retries", [0, 1, 2])
    def test_a_call_is_attempted_once_more_for_each_retry(self, call, retries):
        with scripted(problem("overloaded", 503)) as server:
            with pytest.raises(Overloaded):
                call(server.url, "recommend", 42, options={"retries": retries})

            assert len(server.requests) == 1 + retries

    def test_a_pause_that_would_outlast_the_call_is_not_begun(self, call):
        with scripted(problem("overloaded", 503, {"Retry-After": "3"})) as server:
            started = time.monotonic()
            with pytest.raises(Overloaded) as raised:
                call(server.url, "recommend", 42, timeout=2.5)

            assert time.monotonic() - started < 1.0
            assert (raised.value.retry_after, len(server.requests)) == (3.0, 1)

    def test_a_cut_connection_is_opened_again(self, call):
        with scripted(CUT, success()) as server:
            assert call(server.url, "recommend", 42).user_id == 42
            assert (len(server.requests), server.connections) == (2, 2)

    def test_a_response_cut_midway_is_requested_again(self, call):
        half = Script(200, json.dumps(RESPONSE), {"Content-Length": 1000, "Connection": "close"})
        with scripted(half, success()) as server:
            assert call(server.url, "recommend", 42).user_id == 42
            assert len(server.requests) == 2

    def test_a_connection_that_is_always_cut_is_an_error_with_the_request_id(self, call):
        with scripted(CUT) as server:
            with pytest.raises(ConnectionFailed) as raised:
                call(server.url, "recommend", 42, request_id="r-2")

            assert (len(server.requests), raised.value.request_id) == (3, "r-2")

    def test_a_port_without_a_server_is_a_failed_connection(self, call):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        with pytest.raises(ConnectionFailed, match="connection failed"):
            call(f"http://127.0.0.1:{port}", "recommend", 42)

    @pytest.mark.parametrize("slug", ["internal", "deadline-exceeded", "invalid-request", "unknown-id", "reload-in-progress"])
    def test_no_other_problem_is_tried_again(self, call, slug):
        with scripted(problem(slug, 500, {"Retry-After": "0"})) as server:
            with pytest.raises(ServiceProblem):
                call(server.url, "recommend", 42)

            assert len(server.requests) == 1

    def test_a_probe_is_not_tried_again(self, call):
        with scripted(problem("not-ready", 503, {"Retry-After": "1"})) as server, pytest.raises(NotReady):
            call(server.url, "health")
            assert call(server.url, "ready") is False

            assert [request.path for request in server.requests] == ["/health", "/readyz"]

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [("0", 0), ("120", 120), (" 3 ", 3), ("", None), ("soon", None), ("-1", None), ("1.5", None), ("²", None)],
    )
    def test_retry_after_is_whole_seconds_or_ignored(self, value, seconds):
        assert retry_after(httpx.Headers({"Retry-After": value.encode("utf-8")})) == seconds

    @pytest.mark.parametrize(("ahead", "low", "high"), [(30, 28, 30), (-30, 0, 0)])
    def test_retry_after_may_be_a_date_and_a_past_one_means_now(self, ahead, low, high):
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)

        assert low <= retry_after(httpx.Headers({"Retry-After": date})) <= high


class TestDeadlines:
    def test_each_attempt_sends_the_time_that_remains_for_the_call(self, call):
        with scripted(problem("overloaded", 503, {"Retry-After": "1"}), success()) as server:
            call(server.url, "recommend", 42, timeout=4.0)

            first, second = (int(request.headers["x-request-timeout-ms"]) for request in server.requests)
            assert 3000 < first <= 4000
            assert 1000 < second <= first - 1000

    def test_a_call_without_a_time_out_has_the_clients(self, call):
        with scripted(success()) as server:
            call(server.url, "recommend", 42, options={"timeout": 2.0})
            call(server.url, "recommend", 42, timeout=1e9)

            first, second = (int(request.headers["x-request-timeout-ms"]) for request in server.requests)
            assert 1000 < first <= 2000
            assert second == 999_999_999

    def test_a_silent_service_times_out_without_another_attempt(self, call):
        with scripted(success(delay=3.0)) as server:
            started = time.monotonic()
            with pytest.raises(TimedOut, match=r"0\.3 s") as raised:
                call(server.url, "recommend", 42, timeout=0.3, request_id="r-3")

            assert 0.3 <= time.monotonic() - started < 1.5
            assert (len(server.requests), raised.value.request_id) == (1, "r-3")

    def test_a_body_that_trickles_in_times_out_too(self, call):
        with scripted(success(pause=0.1)) as server:
            started = time.monotonic()
            with pytest.raises(TimedOut):
                call(server.url, "recommend", 42, timeout=0.3)

            assert time.monotonic() - started < 1.5

    def test_the_services_504_arrives_before_the_clients_time_out(self, call):
        late = problem("deadline-exceeded", 504)._replace(delay=0.35)
        with scripted(late) as server, pytest.raises(DeadlineExceeded):
            call(server.url, "recommend", 42, timeout=0.3)


class TestConnections:
    def test_a_hundred_calls_use_one_connection(self):
        with scripted(success()) as server, Client(server.url) as client:
            for _ in range(100):
                client.recommend(42)

            assert (len(server.requests), server.connections) == (100, 1)

    def test_a_hundred_awaited_calls_use_one_connection(self):
        async def calls_in_turn(url):
            async with AsyncClient(url) as client:
                for _ in range(100):
                    await client.recommend(42)

        with scripted(success()) as server:
            asyncio.run(calls_in_turn(server.url))

            assert (len(server.requests), server.connections) == (100, 1)

    def test_a_problem_keeps_the_connection(self):
        with scripted(problem("unknown-id", 422), success()) as server, Client(server.url) as client:
            with pytest.raises(ServiceProblem):
                client.recommend(1)
            client.recommend(42)

            assert server.connections == 1


class TestAgainstTheService:
    def test_the_result_equals_the_services_json(self, demo, call):
        response = call(demo.url, "recommend", 42, k=5, exclude_seen=True, include=["metadata"])
        expected = demo.recommend(user_id=42, k=5, exclude_seen=True, include=["metadata"]).json()

        assert response.model_dump(exclude_none=True) == expected
        assert len(response.items) == 5

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
    def test_every_endpoint_gives_what_it_gives_to_any_http_client(self, demo, call, method, path, body):
        response = call(demo.url, method, **body)

        assert response.model_dump(exclude_none=True) == httpx.post(demo.url + path, json=body).json()

    def test_the_model_its_health_and_readiness(self, demo, call):
        model = call(demo.url, "model")

        assert (model.name, model.users.count, model.items.count) == ("library", 200, 300)
        assert call(demo.url, "model", model.name) == model
        assert call(demo.url, "health").status == "ready"
        assert call(demo.url, "ready") is True

    def test_a_users_mistake_names_the_field_and_the_request(self, demo, call):
        with pytest.raises(InvalidRequest) as raised:
            call(demo.url, "recommend", 42, k=0, request_id="mine.1")

        assert [field.pointer for field in raised.value.errors] == ["/k"]
        assert raised.value.request_id == "mine.1"
        with pytest.raises(UnknownId, match="from 1 to 200"):
            call(demo.url, "recommend", 201)
        with pytest.raises(UnknownModel):
            call(demo.url, "model", "films")

    def test_a_string_in_place_of_a_list_is_the_services_422(self, demo, call):
        with pytest.raises(InvalidRequest) as raised:
            call(demo.url, "recommend", 42, exclude_item_ids="abc")

        assert [field.pointer for field in raised.value.errors] == ["/exclude_item_ids"]

    def test_a_time_out_too_short_for_any_call_is_a_timeout_error(self, demo, call):
        with pytest.raises(TimeoutError):
            call(demo.url, "recommend", 42, timeout=1e-6)

    def test_a_full_queue_is_overloaded_with_the_time_to_wait(self):
        async def crowd(client):
            return await asyncio.gather(*(client.recommend(user) for user in range(1, 51)), return_exceptions=True)

        async def crowds(url):
            async with AsyncClient(url, retries=0) as client:
                return [outcome for _ in range(5) for outcome in await crowd(client)]

        with serving(BUNDLE, RECOSERVE_MAX_QUEUE_ROWS="1") as busy:
            outcomes = asyncio.run(crowds(busy.url))

        errors = [outcome for outcome in outcomes if not isinstance(outcome, schemas.RecommendResponse)]
        assert {(type(error), error.retry_after) for error in errors} == {(Overloaded, 1.0)}

    def test_threads_share_a_client(self, demo):
        with Client(demo.url) as client, ThreadPoolExecutor(16) as pool:
            responses = list(pool.map(lambda user: client.recommend(user, k=1 + user % 7), range(1, 201)))

        assert [(response.user_id, len(response.items)) for response in responses] == [
            (user, 1 + user % 7) for user in range(1, 201)
        ]

    def test_each_of_many_calls_at_once_gets_its_own_response(self, demo):
        async def everybody():
            async with AsyncClient(demo.url) as client:
                return await asyncio.gather(*(client.recommend(user, k=1 + user % 7) for user in range(1, 201)))

        responses = asyncio.run(everybody())

        assert [(response.user_id, len(response.items)) for response in responses] == [
            (user, 1 + user % 7) for user in range(1, 201)
        ]
