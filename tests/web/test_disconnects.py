"""Clients that disconnect while they wait: over a real socket, since only a server notices it."""

import asyncio
import json
import socket
import threading
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from recoserve.bundle import contract
from recoserve.settings import Settings
from recoserve.web import connection
from recoserve.web.app import create_app
from tests.fakes import fake_model
from tests.server import until
from tests.web.http import item_ids


class Served:
    """A service in this process on a free port, over a model whose runs a test can hold back."""

    def __init__(self, protocol=connection.Connection, **settings):
        self.protocol = protocol
        self.model = fake_model()
        self.session = self.model._sessions[contract.RECOMMEND]
        self.app = create_app(Settings(**settings), [lambda: self.model])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    @contextmanager
    def running(self):
        server = uvicorn.Server(uvicorn.Config(self.app.asgi, http=self.protocol, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([self.listener],))
        thread.start()
        try:
            until(lambda: self.app.registry.ready)
            yield self
        finally:
            self.session.gate.set()
            server.should_exit = True
            thread.join(10)

    def send(self, user):
        """The socket of a new connection, after a raw request whose response nobody has read yet."""
        client = socket.create_connection(self.listener.getsockname(), timeout=10)
        client.sendall(self.request_bytes(user))
        return client

    def request_bytes(self, user):
        body = json.dumps({"user_id": user, "k": 1}).encode()
        head = f"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def metric(self, name):
        lines = httpx.get(self.url + "/metrics").text.splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"recoserve_{name} ")), 0.0)


@pytest.fixture
def service():
    with Served(max_batch_rows=4).running() as served:
        yield served


def test_if_a_client_disconnects_its_waiting_rows_are_never_ranked(service):
    """They count as 499, and the client that stays gets its own answer."""
    left = 'http_request_duration_seconds_count{method="POST",route="/recommend",status="499"}'
    dropped = 'requests_rejected_total{reason="disconnected"}'
    before = service.metric(left), service.metric(dropped)
    service.session.gate.clear()
    runs = service.session.runs
    first = service.send(0)
    until(lambda: service.session.runs > runs)

    leaving = [service.send(1) for _ in range(20)]
    staying = service.send(2)
    until(lambda: service.metric("queue_depth") == 22)
    for client in leaving:
        client.close()
    until(lambda: service.metric("queue_depth") == 2)
    service.session.gate.set()

    assert b"200 OK" in first.recv(65536) and b"200 OK" in staying.recv(65536)
    assert 1 not in service.session.user_rows
    assert (service.metric(left), service.metric(dropped)) == (before[0] + 20, before[1] + 20)
    assert item_ids(httpx.post(service.url + "/recommend", json={"user_id": 1, "k": 1})) == [1]


def test_a_client_that_waits_for_long_gets_its_answer(service):
    """And the connection is good for the next request."""
    service.session.gate.clear()
    threading.Timer(0.3, service.session.gate.set).start()
    with httpx.Client(base_url=service.url) as client:
        assert [item_ids(client.post("/recommend", json={"user_id": user, "k": 1})) for user in (1, 2, 3)] == [[1], [0], [1]]


def test_a_task_that_the_server_cancels_is_not_taken_for_a_client_that_left():
    """Law: CancelledError stays CancelledError unless the connection was lost."""
    model = fake_model()

    async def scene():
        app = create_app(Settings(), [lambda: model])
        async with app.api.router.lifespan_context(app.api):
            while not app.registry.ready:
                await asyncio.sleep(0.001)
            model._sessions[contract.RECOMMEND].gate.clear()
            task = asyncio.create_task(app.asgi(request_scope(), receive_body(), discard))
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.wait([task])
            model._sessions[contract.RECOMMEND].gate.set()
            return task.cancelled()

    assert asyncio.run(scene())


def request_scope():
    headers = [(b"content-type", b"application/json")]
    return {"type": "http", "method": "POST", "path": "/recommend", "query_string": b"", "headers": headers}


def receive_body():
    async def receive():
        return {"type": "http.request", "body": b'{"user_id": 1}'}

    return receive


async def discard(_message):
    return None


def test_this_version_of_uvicorn_has_what_the_connection_needs():
    """Otherwise `recoserve.web.connection` falls back to uvicorn's own protocol: slower, and blind to disconnects."""
    assert connection.missing_attributes() == []
    assert connection.protocol() is connection.Connection


def test_uvicorns_own_protocol_gives_the_same_answers():
    with Served(protocol="httptools").running() as served, httpx.Client(base_url=served.url) as client:
        responses = [client.post("/recommend", json={"user_id": user, "k": 1}) for user in (1, 2)]

    assert [item_ids(response) for response in responses] == [[1], [0]]
    assert all(response.headers["x-request-id"] for response in responses)
