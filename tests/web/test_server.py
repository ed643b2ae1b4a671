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
    """Bytes to the socket, bytes back until the service closes it."""
    host, port = re.fullmatch(r"http://(.+):(\d+)", server.url).groups()
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def test_it_answers_like_the_model(server):
    assert item_ids(server.recommend(user_id=0, k=3)) == [0, 2, 4]
    assert item_ids(server.recommend(user_id=1, k=3)) == [1, 3, 5]


def test_health_metrics_and_reference_are_there(server):
    assert [
        server.get(path).status_code for path in ("/livez", "/readyz", "/startupz", "/health", "/metrics", "/docs", "/model")
    ] == [200] * 7
    assert "process_resident_memory_bytes" in server.get("/metrics").text


@pytest.mark.parametrize("path", ["//recommend", "/recommend/", "/..%2f..%2fetc/passwd", "/%2e%2e/model", "/model%00", "/\x01"])
def test_odd_paths_are_a_404_problem(server, path):
    """Case 14."""
    answer = raw(server, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))

    assert re.match(rb"HTTP/1.1 40[04] ", answer)
    assert b"Traceback" not in answer


def test_a_declared_length_over_the_limit_is_refused_before_the_body_comes(server):
    """Case 1: the answer arrives although nothing of the body was sent."""
    head = b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"

    answer = raw(server, head)
    assert answer.startswith(b"HTTP/1.1 413 ") and b"/problems/body-too-large" in answer


def test_a_chunked_body_over_the_limit_is_refused_midway(server):
    """Case 2."""

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
def test_a_body_whose_length_is_in_doubt_is_a_400_and_the_connection_closes(server, head):
    """Cases 4 and 6; and the service lives on."""
    answer = raw(server, b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + head + b"\r\n{}")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert server.get("/livez").status_code == 200


def test_a_client_that_leaves_midway_is_no_defect(server):
    """The log says 499, not error."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n{")

    counted = 'recoserve_http_request_duration_seconds_count{method="POST",route="/recommend",status="499"} 1.0'
    until(lambda: counted in server.get("/metrics").text)
    assert server.get("/readyz").status_code == 200


def test_pipelined_requests_are_answered_in_order(server):
    """Case 11."""
    one = b"GET /model HTTP/1.1\r\nHost: x\r\nX-Request-ID: %d\r\nConnection: %s\r\n\r\n"
    answer = raw(server, b"".join(one % (place, b"close" if place == 99 else b"keep-alive") for place in range(100)))

    assert [str(place).encode() for place in range(100)] == re.findall(rb"(?i)x-request-id: (\d+)", answer)


ASK = b"POST /recommend HTTP/1.%d\r\nHost: x\r\nContent-Type: application/json\r\nX-Request-ID: %d\r\n%bContent-Length: 20\r\n\r\n"


def test_pipelined_recommendations_are_answered_in_order_too(server):
    """They leave by a shorter way than other answers."""
    bodies = [b'{"user_id": %d, "k": 3}' % (place % 2) for place in range(100)]
    heads = [
        ASK.replace(b"20", b"%d" % len(bodies[0])) % (1, place, b"Connection: close\r\n" * (place == 99)) for place in range(100)
    ]
    answer = raw(server, b"".join(head + body for head, body in zip(heads, bodies, strict=True)))

    assert re.findall(rb"x-request-id: (\d+)", answer) == [str(place).encode() for place in range(100)]
    found = re.findall(rb'"user_id":(\d),"items":\[{"item_id":(\d),', answer)
    assert found == [(b"%d" % (place % 2), b"%d" % (place % 2)) for place in range(100)]


def test_the_head_of_an_answer(server):
    body = b'{"user_id":1, "k":3}'
    kept, last = (ASK % (1, 7, line) + body for line in (b"", b"Connection: close\r\n"))
    first, second = (answer.partition(b"\r\n\r\n") for answer in raw(server, kept + last).split(b"HTTP/1.1 200 OK\r\n")[1:])

    names = [line.partition(b":")[0] for line in first[0].split(b"\r\n")]
    assert names == [b"date", b"content-length", b"content-type", b"x-request-id", b"server-timing"]
    assert b"content-length: %d\r\n" % len(first[2]) in first[0]
    assert second[0].endswith(b"connection: close")
    assert first[2] == second[2]


def test_an_old_client_is_answered_and_the_connection_closed(server):
    answer = raw(server, ASK % (0, 7, b"") + b'{"user_id":1, "k":3}')
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\nconnection: close\r\n" in answer


def test_who_expects_to_be_told_to_go_on_is_told(server):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for _ in range(2):
            connection.sendall(ASK % (1, 7, b"Expect: 100-continue\r\n"))
            assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b'{"user_id":1, "k":3}')
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_sigterm_drains_and_exits_with_0(bundle):
    """Case 74: not ready first; whoever still comes is answered and told to leave; no connection is reset; exit code 0."""
    with serving(bundle, RECOSERVE_DRAIN_SECONDS="1.5") as server:
        answers, failures, leave = [], [], threading.Event()

        def ask():
            with httpx.Client() as client:
                while not leave.is_set():
                    try:
                        answers.append(client.post(server.url + "/recommend", json={"user_id": 1}, timeout=10))
                    except httpx.HTTPError as error:
                        failures.append(repr(error))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(answers) > 20)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.get("/readyz").status_code == 503)
        before = len(answers)
        until(lambda: len(answers) > before + 20)
        leave.set()  # as a load balancer does once /readyz says 503
        for thread in threads:
            thread.join()

        assert server.process.wait(timeout=30) == 0
    assert failures == []
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].headers.get("connection") != "close"
    assert answers[-1].headers["connection"] == "close"


# While a line is written its stream can't take another, not even from a handler of signals.
SIGNALLED_WHILE_IT_LOGS = """
import io, os, signal, sys

class Standard(io.FileIO):
    signalled = False

    def write(self, data):
        written = super().write(data)
        if b"serving" in bytes(data) and not self.signalled:
            self.signalled = True
            os.kill(os.getpid(), signal.SIGTERM)
        return written

sys.stderr = io.TextIOWrapper(io.BufferedWriter(Standard(2, "w")), line_buffering=True)
from recoserve.cli import main
main()
"""


def test_a_signal_while_a_line_is_written_is_not_lost(bundle):
    command = [sys.executable, "-c", SIGNALLED_WHILE_IT_LOGS, "serve", str(bundle), "--port", "0", "--drain-seconds", "0.2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)

    assert done.returncode == 0
    assert "draining for 0.2 s" in done.stderr and "Traceback" not in done.stderr


def test_a_second_signal_ends_it_at_once(bundle):
    with serving(bundle, RECOSERVE_DRAIN_SECONDS="600") as server:
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.get("/readyz").status_code == 503)

        assert server.stop() == 0


def test_ctrl_c_ends_it_at_once(bundle):
    with serving(bundle, RECOSERVE_DRAIN_SECONDS="600") as server:
        assert server.stop(signal.SIGINT) == 0


def test_every_log_line_is_json_without_what_the_client_typed(bundle):
    """Case 15."""
    with serving(bundle) as server:
        raw(server, b"GET /evil%0a%1b[31m HTTP/1.1\r\nHost: x\r\nX-Request-ID: ok-1\r\nConnection: close\r\n\r\n")
        assert server.stop() == 0

    (line,) = [record for record in server.log if record.get("logger") == "recoserve.access"]
    assert (line["route"], line["status"], line["request_id"], line["level"]) == ("unmatched", 404, "ok-1", "INFO")
    assert "evil" not in str(server.log)


def test_a_port_that_is_taken_is_said_so(server, bundle):
    port = server.url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "recoserve", "serve", str(bundle), "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert "Address already in use" in done.stderr and "Traceback" not in done.stderr


def test_or_demo_serves_the_demo_only_where_nobody_put_a_model(bundle, tmp_path):
    """A models folder without a model: the demo. With one: that one. With a broken one: an error, never the demo in its place."""
    empty, whole, broken = (tmp_path / name for name in ("empty", "whole", "broken"))
    (empty / ".hidden").mkdir(parents=True)
    (empty / "README").write_text("put bundles here")
    (whole / "evens").mkdir(parents=True)
    (whole / "evens" / "1").symlink_to(bundle)
    (broken / "evens" / "1").mkdir(parents=True)

    for folder, name in ((empty, "library"), (tmp_path / "nowhere", "library"), (whole, "evens")):
        with serving(folder, "--or-demo") as server:
            assert server.get("/model").json()["name"] == name
    command = [sys.executable, "-m", "recoserve", "serve", str(broken), "--or-demo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "neither a bundle" in done.stderr
