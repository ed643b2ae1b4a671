"""Around the endpoints: media types, sizes, paths, request ids, deadlines, overload, health, metrics, defects."""

import asyncio
import json
import re
import threading
from contextlib import contextmanager
from functools import partial

import pytest
from prometheus_client import REGISTRY

from recoserve import errors
from recoserve.bundle import contract
from recoserve.errors import BundleInvalid, RequestError
from recoserve.scheduling.registry import RegistryState
from recoserve.web import problems
from tests.fakes import fake_model
from tests.web.http import Application, assert_problem, item_ids, wait_until

BODY = b'{"user_id": 1, "k": 1}'


@pytest.fixture(scope="module")
def service():
    with Application(fake_model, max_body_bytes=1000) as application:
        yield application.wait_ready()


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
    ],
)
def test_another_media_type_or_charset_is_a_415(service, content_type):
    assert_problem(service.send(BODY, content_type), 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON", "application/json; charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_the_media_type_of_json_is_accepted_however_it_is_spelt(service, content_type):
    assert item_ids(service.send(BODY, content_type)) == [1]


def test_a_compressed_body_is_a_415(service):
    assert_problem(service.send(BODY, **{"Content-Encoding": "gzip"}), 415, "unsupported-media-type")


def test_a_body_whose_declared_length_is_over_the_limit_is_a_413_and_one_at_the_limit_is_read(service):
    assert_problem(service.send(b" " * 1001), 413, "body-too-large")
    assert item_ids(service.send(BODY + b" " * (1000 - len(BODY)))) == [1]


def test_a_body_without_a_declared_length_is_a_413_once_it_grows_over_the_limit(service):
    async def chunks():
        for _ in range(1000):
            yield b" " * 100

    response = service.request("POST", "/recommend", content=chunks(), headers={"Content-Type": "application/json"})

    assert_problem(response, 413, "body-too-large")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nope"), ("POST", "/recommend/"), ("GET", "/model/1"), ("GET", "/%2e%2e/etc"), ("GET", "/%1b%5b31m%0a")],
)
def test_an_unknown_path_is_a_404_problem(service, method, path):
    assert_problem(service.request(method, path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/recommend"), ("DELETE", "/model"), ("POST", "/livez"), ("BREW", "/recommend")]
)
def test_a_wrong_method_is_a_405_problem_with_allow(service, method, path):
    response = service.request(method, path)

    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"]


@pytest.mark.parametrize("request_id", ["abc", "A-b_c.9", "x" * 128])
def test_a_valid_request_id_is_returned(service, request_id):
    assert request_id == service.get("/model", headers={"X-Request-ID": request_id}).headers["x-request-id"]


@pytest.mark.parametrize("request_id", ["", "x" * 129, "a b", "a\tb", "é".encode().decode("latin-1"), "<script>"])
def test_an_invalid_request_id_is_replaced(service, request_id):
    """So that nothing which could break a log line is logged or returned."""
    response = service.get("/model", headers={"X-Request-ID": request_id.encode("latin-1")})

    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


def test_every_response_has_its_milliseconds_in_the_queue_and_in_inference(service):
    for response in (service.recommend(user_id=1), service.recommend(user_id=-1), service.get("/nope")):
        assert re.fullmatch(r"queue;dur=[\d.]+, inference;dur=[\d.]+", response.headers["server-timing"])


TRACE = "0af7651916cd43dd8448eb211c80319c"


def access_lines(capsys, log_format, *requests):
    """The log lines of an application that has answered these requests and stopped in order."""
    with Application(fake_model, log_format=log_format) as application:
        application.wait_ready()
        for method, path, headers in requests:
            application.request(method, path, headers=headers)
    return capsys.readouterr().err.splitlines()


def test_a_request_is_one_log_line_with_its_route_and_ids_but_not_its_path(capsys):
    """The line holds the route's template, never what the client typed; health is not logged."""
    headers = {"X-Request-ID": "mine", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    (line,) = access_lines(capsys, "json", ("GET", "/evil%0apath", headers), ("GET", "/livez", {}))

    record = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", record.pop("time"))
    assert record.pop("duration_ms") > 0
    constants = {"level": "INFO", "logger": "recoserve.access", "message": "request"}
    assert record == {**constants, "method": "GET", "route": "unmatched", "status": 404, "request_id": "mine", "trace_id": TRACE}


def test_a_log_line_for_people_has_the_same_fields(capsys):
    (line,) = access_lines(capsys, "text", ("DELETE", "/model", {"X-Request-ID": "mine"}))

    assert re.fullmatch(
        r"\d\d:\d\d:\d\d INFO    request method=DELETE route=/model status=405 duration_ms=[\d.]+ request_id=mine", line
    )


def test_more_lines_than_are_written_at_once_are_all_written_in_order(capsys):
    request_ids = [f"r-{number}" for number in range(250)]
    lines = access_lines(capsys, "json", *[("GET", "/model", {"X-Request-ID": request_id}) for request_id in request_ids])

    assert request_ids == [json.loads(line)["request_id"] for line in lines]


def test_unknown_paths_share_one_label(service):
    """So that clients can't make the labels of a metric grow."""
    for number in range(5):
        service.get(f"/nope/{number}")
        service.request(f"M{number}", "/nope")
    labels = {
        sample.labels["route"]
        for metric in REGISTRY.collect()
        if metric.name == "recoserve_http_request_duration_seconds"
        for sample in metric.samples
    }

    assert labels <= {"unmatched", "/docs", "/openapi.json", "/", *service.app.api.openapi()["paths"]}


def test_a_request_whose_deadline_has_passed_on_arrival_is_a_504_without_inference():
    model = fake_model()
    with Application(lambda: model) as application:
        application.wait_ready()
        response = application.send(BODY, **{"X-Request-Timeout-Ms": "0"})

    assert_problem(response, 504, "deadline-exceeded")
    assert not any(session.runs for session in model._sessions.values())


@contextmanager
def application_with_gate(**settings):
    """An application, and the session of its model, whose `gate` holds the next run back until the test sets it.

    The first run of a model is made in the inference thread, so while the gate holds it the event loop goes on.
    """
    model = fake_model()
    session = model._sessions[contract.RECOMMEND]
    session.gate.clear()
    with Application(lambda: model, **settings) as application:
        try:
            yield application.wait_ready(), session
        finally:
            session.gate.set()


def test_a_request_whose_deadline_passes_in_the_queue_is_a_504_and_never_ranked():
    with application_with_gate(max_batch_rows=1) as (application, session):
        recommend = partial(application.client.post, "/recommend")

        async def scene():
            first = asyncio.create_task(recommend(json={"user_id": 1}))
            await wait_until(lambda: session.runs)
            second = await recommend(json={"user_id": 2}, headers={"X-Request-Timeout-Ms": "50"})
            session.gate.set()
            return await first, second

        first, second = application.run(scene())

    assert first.status_code == 200
    assert_problem(second, 504, "deadline-exceeded")
    assert session.user_rows == {1}


@pytest.mark.parametrize("timeout", ["-1", "1.5", "soon", "", "9" * 30])
def test_a_timeout_that_is_no_whole_number_of_milliseconds_is_refused(service, timeout):
    assert_problem(service.send(BODY, **{"X-Request-Timeout-Ms": timeout}), 422, "invalid-request")


def test_if_the_queue_is_full_a_request_is_a_503_with_retry_after():
    """It is refused at once, while the requests in the queue still wait for their answers."""
    with application_with_gate(max_queue_rows=3) as (application, session):

        async def scene():
            requests = [asyncio.create_task(application.client.post("/recommend", json={"user_id": 1})) for _ in range(8)]
            await wait_until(lambda: sum(request.done() for request in requests) == 5)
            session.gate.set()
            return await asyncio.gather(*requests)

        responses = application.run(scene())

    refused = [response for response in responses if response.status_code != 200]
    assert len(refused) == 5
    for response in refused:
        assert_problem(response, 503, "overloaded")
        assert response.headers["retry-after"]


def test_before_the_model_is_loaded_only_livez_is_a_200():
    """Everything else that needs the model is a 503 with Retry-After."""
    gate = threading.Event()

    def loader():
        gate.wait(10)
        return fake_model()

    with Application(loader) as application:
        assert application.get("/livez").status_code == 200
        for path in ("/readyz", "/startupz", "/health", "/model"):
            response = application.get(path)
            assert_problem(response, 503, "not-ready")
            assert response.headers["retry-after"]
        assert_problem(application.recommend(user_id=1), 503, "not-ready")
        gate.set()
        application.wait_ready()
        assert [application.get(path).status_code for path in ("/livez", "/readyz", "/startupz", "/health")] == [200] * 4


def test_while_draining_readyz_is_a_503_and_requests_are_answered():
    with Application(fake_model) as application:
        application.wait_ready().registry.drain()

        assert_problem(application.get("/readyz"), 503, "not-ready")
        assert_problem(application.get("/health"), 503, "not-ready")
        assert application.get("/startupz").status_code == 200
        assert item_ids(application.recommend(user_id=1, k=1)) == [1]


def test_a_bundle_that_fails_its_checks_leaves_the_service_not_ready():
    def loader():
        raise BundleInvalid(["model.onnx: missing"])

    with Application(loader) as application:
        application.run(wait_until(lambda: application.registry.state is RegistryState.FAILED))
        assert application.get("/livez").status_code == 200
        assert_problem(application.get("/readyz"), 503, "not-ready")


def test_a_defect_is_a_500_problem_and_its_cause_is_logged_with_the_request_id(caplog):
    """No traceback reaches the client; the next request is answered."""

    def failing_rank(_queries):
        raise ZeroDivisionError("secret detail")

    model = fake_model()
    with Application(lambda: model) as application:
        application.wait_ready()
        model.rank = failing_rank
        response = application.recommend(user_id=1)
        del model.rank

        document = assert_problem(response, 500, "internal")
        assert "secret" not in response.text
        assert item_ids(application.recommend(user_id=1, k=1)) == [1]
    (record,) = [record for record in caplog.records if record.name == "recoserve.error"]
    assert document["request_id"] == record.request_id


def test_a_defect_in_a_route_of_the_framework_is_the_same_problem_and_is_logged_once(caplog):
    """FastAPI's own handler of last resort would answer in plain text."""
    model = fake_model()
    with Application(lambda: model) as application:
        application.wait_ready()
        del model.retrieval
        document = assert_problem(application.get("/model"), 500, "internal")
        assert application.get("/readyz").status_code == 200

    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (record.name, record.request_id) == ("recoserve.error", document["request_id"])


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"], ids=["answered", "refused"])
def test_while_draining_a_response_asks_once_to_close_the_connection(content_type):
    """If the client kept the connection, the service would close it under the next request."""
    with Application(fake_model) as application:
        application.wait_ready().registry.drain()
        response = application.send(BODY, content_type)

    assert [value for name, value in response.headers.multi_items() if name == "connection"] == ["close"]


def test_requests_in_flight_leave_out_health_and_the_scrape_itself():
    with application_with_gate() as (application, session):

        async def in_flight():
            scrape = await application.client.get("/metrics")
            return float(re.search(r"^recoserve_http_requests_in_flight (.+)$", scrape.text, re.MULTILINE)[1])

        async def scene():
            request = asyncio.create_task(application.client.post("/recommend", json={"user_id": 1}))
            await wait_until(lambda: session.runs)
            await application.client.get("/health")
            during = await in_flight()
            session.gate.set()
            await request
            return during, await in_flight()

        assert application.run(scene()) == (1, 0)


def test_health_and_model_name_the_model_that_answers(service):
    assert service.get("/health").json() == {"status": "ready", "model": {"name": "fake", "version": "1"}}
    model = service.get("/model").json()
    assert model["users"] == {"count": 6, "type": "row", "min": 0, "max": 5}
    assert (model["similarity"], model["dim"], model["provider"], model["limits"]["max_k"]) == ("cosine", 2, "cpu", 1000)


def test_metrics_are_prometheus_text_or_openmetrics_when_asked_for(service):
    service.recommend(user_id=1)
    prometheus = service.get("/metrics")
    openmetrics = service.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert prometheus.headers["content-type"].startswith("text/plain")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.text.rstrip().endswith("# EOF")
    assert 'recoserve_model_info{name="fake",provider="cpu",similarity="cosine",version="1"} 1.0' in prometheus.text
    assert 'le="0.0001"' in prometheus.text
    for name in (
        "http_request_duration_seconds_count",
        "http_requests_in_flight",
        "queue_duration_seconds_count",
        "queue_depth",
        "batch_rows_count",
        "inference_duration_seconds_count",
        "retrieval_rows_total",
        "model_load_timestamp_seconds",
    ):
        assert f"\nrecoserve_{name}" in prometheus.text


def test_every_request_error_has_one_row_in_the_table_of_problems():
    """A class without a row would become a 500."""

    def with_subclasses(error):
        return {error}.union(*map(with_subclasses, error.__subclasses__()))

    assert with_subclasses(RequestError) - {RequestError} == set(problems.TYPES)
    assert {kind.type for kind in problems.TYPES.values()}.isdisjoint({kind.type for kind in problems.BY_STATUS.values()})


def test_a_pointer_escapes_slashes_and_tildes():
    """As RFC 6901 says."""
    assert problems.pointer(("a/b", 0, "~")) == "/a~1b/0/~0"
    assert problems.pointer(()) == ""


def test_the_schema_documents_every_problem_of_an_operation(service):
    schema = service.get("/openapi.json").json()

    operation = schema["paths"]["/recommend"]["post"]
    assert {"200", "400", "404", "413", "415", "422", "500", "503", "504"} == set(operation["responses"])
    assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"] == "#/components/schemas/RecommendRequest"
    assert "Problem" in schema["components"]["schemas"] and "HTTPValidationError" not in json.dumps(schema)


def test_the_reference_page_loads_nothing_from_other_hosts(service):
    """It must work in a closed network."""
    page = service.get("/docs").text

    assert "swagger" in page and not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    for asset in re.findall(r"(?:src|href)=[\"'](/[^\"']+)", page):
        assert service.get(asset).status_code == 200


def test_the_errors_of_the_domain_know_no_http_status():
    assert not any(word in (errors.__doc__ or "") for word in ("404", "422", "503"))
