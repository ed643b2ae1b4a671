"""The service as it runs: a process, a socket, signals, logs."""

import re
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

from tests.server import serving, until
from tests.web.http import assert_problem, item_ids


@pytest.fixture(scope="module")
def server(bundle):
    with serving(bundle) as running:
        yield running


def raw(server, request):
    """The bytes that the service sends in response to these, until it closes the connection."""
    host, port = re.fullmatch(r"http://(.+):(\d+)", server.url).groups()
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        response = b""
        while received := connection.recv(65536):
            response += received
    return response


def test_even_users_get_even_items_from_the_real_process(server):
    assert item_ids(server.recommend(user_id=0, k=3)) == [0, 2, 4]
    assert item_ids(server.recommend(user_id=1, k=3)) == [1, 3, 5]


def test_health_metrics_and_the_reference_page_are_served(server):
    assert [
        server.get(path).status_code for path in ("/livez", "/readyz", "/startupz", "/health", "/metrics", "/docs", "/model")
    ] == [200] * 7
    assert "process_resident_memory_bytes" in server.get("/metrics").text


@pytest.mark.parametrize("path", ["//recommend", "/recommend/", "/..%2f..%2fetc/passwd", "/%2e%2e/model", "/model%00", "/\x01"])
def test_a_hostile_path_is_a_404_or_a_400_without_a_traceback(server, path):
    response = raw(server, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))

    assert re.match(rb"HTTP/1.1 40[04] ", response)
    assert b"Traceback" not in response


def test_a_declared_length_over_the_limit_is_refused_before_the_body_comes(server):
    """The response arrives although nothing of the body was sent."""
    head = b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"

    answer = raw(server, head)
    assert answer.startswith(b"HTTP/1.1 413 ") and b"/problems/body-too-large" in answer


def test_a_chunked_body_is_refused_once_it_grows_over_the_limit(server):

    def chunks():
        for _ in range(64):
            yield b" " * 65536

    with httpx.Client() as client:
        response = client.post(server.url + "/recommend", content=chunks(), headers={"Content-Type": "application/json"})
    assert_problem(response, 413, "body-too-large")


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: -1\r\n",
        b"Content-Length: abc\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_a_body_whose_length_is_in_doubt_is_a_400_and_the_service_closes_the_connection(server, head):
    """And goes on to answer others."""
    answer = raw(server, b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + head + b"\r\n{}")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert server.get("/livez").status_code == 200


def test_if_a_client_disconnects_within_its_body_the_request_counts_as_a_499(server):
    """It is no defect of the service, which goes on."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n{")

    counted = 'recoserve_http_request_duration_seconds_count{method="POST",route="/recommend",status="499"} 1.0'
    until(lambda: counted in server.get("/metrics").text)
    assert server.get("/readyz").status_code == 200


def test_pipelined_requests_are_answered_in_order(server):
    head = b"GET /model HTTP/1.1\r\nHost: x\r\nX-Request-ID: %d\r\nConnection: %s\r\n\r\n"
    answer = raw(server, b"".join(head % (number, b"close" if number == 99 else b"keep-alive") for number in range(100)))

    assert [str(number).encode() for number in range(100)] == re.findall(rb"(?i)x-request-id: (\d+)", answer)


# To be filled with the minor version of HTTP, a request id and further header lines.
RECOMMEND_HEAD = (
    b"POST /recommend HTTP/1.%d\r\nHost: x\r\nContent-Type: application/json\r\nX-Request-ID: %d\r\n%bContent-Length: 20\r\n\r\n"
)


def test_pipelined_recommendations_are_answered_in_order_too(server):
    """Our own connection sends them in one write each; other responses leave by uvicorn's events."""
    bodies = [b'{"user_id": %d, "k": 3}' % (number % 2) for number in range(100)]
    head = RECOMMEND_HEAD.replace(b"20", b"%d" % len(bodies[0]))
    heads = [head % (1, number, b"Connection: close\r\n" * (number == 99)) for number in range(100)]
    answer = raw(server, b"".join(head + body for head, body in zip(heads, bodies, strict=True)))

    assert re.findall(rb"x-request-id: (\d+)", answer) == [str(number).encode() for number in range(100)]
    users_and_best_items = re.findall(rb'"user_id":(\d),"items":\[{"item_id":(\d),', answer)
    assert users_and_best_items == [(b"%d" % (number % 2), b"%d" % (number % 2)) for number in range(100)]


def test_the_response_to_a_recommendation_has_these_headers_in_this_order(server):
    body = b'{"user_id":1, "k":3}'
    keep_alive, close = (RECOMMEND_HEAD % (1, 7, line) + body for line in (b"", b"Connection: close\r\n"))
    _, *responses = raw(server, keep_alive + close).split(b"HTTP/1.1 200 OK\r\n")
    first, second = (response.partition(b"\r\n\r\n") for response in responses)

    names = [line.partition(b":")[0] for line in first[0].split(b"\r\n")]
    assert names == [b"date", b"content-length", b"content-type", b"x-request-id", b"server-timing"]
    assert b"content-length: %d\r\n" % len(first[2]) in first[0]
    assert second[0].endswith(b"connection: close")
    assert first[2] == second[2]


def test_a_client_of_http_1_0_is_answered_and_the_connection_closed(server):
    answer = raw(server, RECOMMEND_HEAD % (0, 7, b"") + b'{"user_id":1, "k":3}')
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\nconnection: close\r\n" in answer


def test_a_request_with_expect_100_continue_is_told_to_continue(server):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for _ in range(2):
            connection.sendall(RECOMMEND_HEAD % (1, 7, b"Expect: 100-continue\r\n"))
            assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b'{"user_id":1, "k":3}')
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_sigterm_drains_and_exits_with_0(bundle):
    """`/readyz` is a 503 first; requests are still answered, with `Connection: close`; no connection is reset."""
    # Wall-clock time, as the drain is: twenty more answers have to come within it, on a busy machine too.
    with serving(bundle, RECOSERVE_DRAIN_SECONDS="3") as server:
        responses, failures, stopping = [], [], threading.Event()

        def send_requests():
            with httpx.Client() as client:
                while not stopping.is_set():
                    try:
                        responses.append(client.post(server.url + "/recommend", json={"user_id": 1}, timeout=10))
                    except httpx.HTTPError as error:
                        failures.append(repr(error))

        threads = [threading.Thread(target=send_requests) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(responses) > 20)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.get("/readyz").status_code == 503)
        responses_before = len(responses)
        until(lambda: len(responses) > responses_before + 20)
        stopping.set()  # as a load balancer does once /readyz says 503
        for thread in threads:
            thread.join()

        assert server.process.wait(timeout=30) == 0
    assert failures == []
    assert {response.status_code for response in responses} == {200}
    assert responses[0].headers.get("connection") != "close"
    assert responses[-1].headers["connection"] == "close"


# The signal arrives in the middle of a log line. A buffered stream raises RuntimeError if a signal handler then writes to it, and
# the signal would be lost: the handler must not log.
SIGTERM_WHILE_LOGGING = """
import io, os, signal, sys

class SignallingStream(io.FileIO):
    signalled = False

    def write(self, data):
        written = super().write(data)
        if b"serving" in bytes(data) and not self.signalled:
            self.signalled = True
            os.kill(os.getpid(), signal.SIGTERM)
        return written

sys.stderr = io.TextIOWrapper(io.BufferedWriter(SignallingStream(2, "w")), line_buffering=True)
from recoserve.cli import main
main()
"""


def test_a_signal_that_arrives_while_a_log_line_is_written_is_not_lost(bundle):
    command = [sys.executable, "-c", SIGTERM_WHILE_LOGGING, "serve", str(bundle), "--port", "0", "--drain-seconds", "0.2"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=30)

    assert process.returncode == 0
    assert "draining for 0.2 s" in process.stderr and "Traceback" not in process.stderr


def test_a_second_signal_ends_the_service_at_once(bundle):
    with serving(bundle, RECOSERVE_DRAIN_SECONDS="600") as server:
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.get("/readyz").status_code == 503)

        assert server.stop() == 0


def test_ctrl_c_ends_the_service_at_once(bundle):
    with serving(bundle, RECOSERVE_DRAIN_SECONDS="600") as server:
        assert server.stop(signal.SIGINT) == 0


def test_every_log_line_is_json_without_what_the_client_typed(bundle):
    with serving(bundle) as server:
        raw(server, b"GET /evil%0a%1b[31m HTTP/1.1\r\nHost: x\r\nX-Request-ID: ok-1\r\nConnection: close\r\n\r\n")
        assert server.stop() == 0

    (line,) = [record for record in server.log if record.get("logger") == "recoserve.access"]
    assert (line["route"], line["status"], line["request_id"], line["level"]) == ("unmatched", 404, "ok-1", "INFO")
    assert "evil" not in str(server.log)


def test_a_port_in_use_is_an_error_at_start(server, bundle):
    port = server.url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "recoserve", "serve", str(bundle), "--port", port]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert process.returncode == 1
    assert "Address already in use" in process.stderr and "Traceback" not in process.stderr


def test_or_demo_serves_the_demo_if_the_folder_holds_no_model(bundle, tmp_path):
    """If it holds one, that one is served; if that one is broken, it is an error, and the demo isn't served in its place."""
    empty, sound, broken = (tmp_path / name for name in ("empty", "sound", "broken"))
    (empty / ".hidden").mkdir(parents=True)
    (empty / "README").write_text("put bundles here")
    (sound / "evens").mkdir(parents=True)
    (sound / "evens" / "1").symlink_to(bundle)
    (broken / "evens" / "1").mkdir(parents=True)

    for folder, name in ((empty, "library"), (tmp_path / "nowhere", "library"), (sound, "evens")):
        with serving(folder, "--or-demo") as server:
            assert server.get("/model").json()["name"] == name
    command = [sys.executable, "-m", "recoserve", "serve", str(broken), "--or-demo"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert process.returncode == 1
    assert "neither a bundle" in process.stderr
