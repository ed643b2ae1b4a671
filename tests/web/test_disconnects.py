"""Clients that disconnect while they wait: over a real socket, since only the server's connection sees a disconnect."""

import asyncio
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
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
from tests.web.http import item_ids, wait_until


class ServiceOnSocket:
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

    def send(self, user_id):
        """A new connection's socket, on which a request has been sent; its response is still to be read."""
        client = socket.create_connection(self.listener.getsockname(), timeout=10)
        client.sendall(self.request_bytes(user_id))
        return client

    def request_bytes(self, user_id):
        body = json.dumps({"user_id": user_id, "k": 1}).encode()
        head = f"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def metric(self, name):
        lines = httpx.get(self.url + "/metrics").text.splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"recoserve_{name} ")), 0.0)


@pytest.fixture
def service():
    with ServiceOnSocket(max_batch_rows=4).running() as running:
        yield running


def test_if_a_client_disconnects_its_waiting_rows_are_never_ranked(service):
    """Its request counts as 499, and a client that stays gets its own answer."""
    client_closed = 'http_request_duration_seconds_count{method="POST",route="/recommend",status="499"}'
    disconnected = 'requests_rejected_total{reason="disconnected"}'
    closed_before, disconnected_before = service.metric(client_closed), service.metric(disconnected)
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
    assert service.metric(client_closed) == closed_before + 20
    assert service.metric(disconnected) == disconnected_before + 20
    assert item_ids(httpx.post(service.url + "/recommend", json={"user_id": 1, "k": 1})) == [1]


def test_a_client_that_waits_gets_its_answer_and_can_send_the_next_request_on_its_connection(service):
    service.session.gate.clear()
    runs = service.session.runs
    with httpx.Client(base_url=service.url) as client, ThreadPoolExecutor(1) as pool:
        responses = pool.map(lambda user_id: client.post("/recommend", json={"user_id": user_id, "k": 1}), (1, 2, 3))
        until(lambda: service.session.runs > runs)
        service.session.gate.set()
        assert [item_ids(response) for response in responses] == [[1], [0], [1]]


def test_a_task_that_the_server_cancels_is_not_taken_for_a_client_that_disconnected():
    """Law: CancelledError stays CancelledError unless the connection was lost."""
    model = fake_model()
    session = model._sessions[contract.RECOMMEND]

    async def scene():
        app = create_app(Settings(), [lambda: model])
        async with app.api.router.lifespan_context(app.api):
            await wait_until(lambda: app.registry.ready)
            session.gate.clear()
            task = asyncio.create_task(app.asgi(request_scope(), receive_body(), discard))
            await wait_until(lambda: session.runs)
            task.cancel()
            await asyncio.wait([task])
            session.gate.set()
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
    with ServiceOnSocket(protocol="httptools").running() as service, httpx.Client(base_url=service.url) as client:
        responses = [client.post("/recommend", json={"user_id": user_id, "k": 1}) for user_id in (1, 2)]

    assert [item_ids(response) for response in responses] == [[1], [0]]
    assert all(response.headers["x-request-id"] for response in responses)
