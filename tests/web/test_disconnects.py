"""Callers that leave while they wait: over a real socket, since only a server knows of it."""

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
from recoserve.web.app import create_app
from recoserve.web.disconnects import DisconnectWatch
from tests.fakes import fake_model
from tests.server import until
from tests.web.http import item_ids


class Served:
    """A service in this process on a free port, over a model whose runs a test can hold back."""

    def __init__(self, **settings):
        self.model = fake_model()
        self.session = self.model._sessions[contract.RECOMMEND]
        self.app = create_app(Settings(**settings), [lambda: self.model])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    @contextmanager
    def running(self):
        server = uvicorn.Server(uvicorn.Config(self.app.asgi, log_config=None, access_log=False))
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
        """A raw request, whose answer nobody reads yet."""
        body = json.dumps({"user_id": user, "k": 1}).encode()
        head = f"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection = socket.create_connection(self.listener.getsockname(), timeout=10)
        connection.sendall(head.encode() + body)
        return connection

    def metric(self, name):
        lines = httpx.get(self.url + "/metrics").text.splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"recoserve_{name} ")), 0.0)


@pytest.fixture
def service():
    with Served(max_batch_rows=4).running() as served:
        yield served


def test_rows_of_callers_that_hang_up_in_the_queue_are_never_ranked(service):
    """Case 72: counted as 499, and who stays gets its own answer."""
    left = 'http_request_duration_seconds_count{method="POST",route="/recommend",status="499"}'
    dropped = 'requests_rejected_total{reason="disconnected"}'
    before = service.metric(left), service.metric(dropped)
    service.session.gate.clear()
    runs = service.session.runs
    first = service.send(0)
    until(lambda: service.session.runs > runs)

    leavers = [service.send(1) for _ in range(20)]
    stayer = service.send(2)
    until(lambda: service.metric("queue_depth") == 22)
    for connection in leavers:
        connection.close()
    until(lambda: service.metric("queue_depth") == 2)
    service.session.gate.set()

    assert b"200 OK" in first.recv(65536) and b"200 OK" in stayer.recv(65536)
    assert 1 not in service.session.asked
    assert (service.metric(left), service.metric(dropped)) == (before[0] + 20, before[1] + 20)
    assert item_ids(httpx.post(service.url + "/recommend", json={"user_id": 1, "k": 1})) == [1]


def test_a_caller_that_only_waits_for_long_gets_its_answer(service):
    """The watch neither eats nor cancels anything, and the connection is good for the next request."""
    service.session.gate.clear()
    threading.Timer(0.3, service.session.gate.set).start()
    with httpx.Client(base_url=service.url) as client:
        assert [item_ids(client.post("/recommend", json={"user_id": user, "k": 1})) for user in (1, 2, 3)] == [[1], [0], [1]]


def test_a_task_that_is_cancelled_for_another_reason_stays_cancelled():
    """A server that gives up on its tasks is not taken for a caller that left."""

    async def never():
        await asyncio.Event().wait()

    async def scene():
        visits, disconnects = [], DisconnectWatch()

        async def wait():
            visits.append(disconnects.enter(never))
            await asyncio.Event().wait()

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return visits[0].gone

    assert asyncio.run(scene()) is False
