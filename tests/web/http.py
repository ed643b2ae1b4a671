"""Requests to an application without a socket, and the checks that every error and every ranking must pass."""

import asyncio
import json

import httpx

from recoserve.settings import Settings
from recoserve.web.app import create_app


class Application:
    """A running application over the loaders of its models. Requests are synchronous; one event loop serves them all."""

    def __init__(self, *loaders, **settings):
        self.app = create_app(Settings(**settings), loaders)
        self.registry = self.app.registry
        self._runner = asyncio.Runner()

    def __enter__(self):
        self._lifespan = self.app.api.router.lifespan_context(self.app.api)
        self._runner.run(self._lifespan.__aenter__())
        transport = httpx.ASGITransport(self.app.asgi, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://service")
        return self

    def __exit__(self, *_):
        self.run(self.client.aclose())
        self.run(self._lifespan.__aexit__(None, None, None))
        self._runner.close()

    def run(self, coroutine):
        """The value of a coroutine that uses `client`, for a test that does something while requests are in flight."""
        return self._runner.run(coroutine)

    def request(self, method, path, **options):
        return self.run(self.client.request(method, path, **options))

    def together(self, *bodies, path="/recommend", headers=None):
        """The responses to several requests to one path in flight at once, in the order of their bodies."""
        return self.post_together(*((path, body) for body in bodies), headers=headers)

    def post_together(self, *requests, headers=None):
        """The responses to several POST requests in flight at once, each a path and a body, in their order."""

        async def gather():
            return await asyncio.gather(*(self.client.post(path, json=body, headers=headers) for path, body in requests))

        return self.run(gather())

    def post(self, path, body, **headers):
        """The response to one body, sent as it is where it is bytes, otherwise as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, content=content, headers={"Content-Type": "application/json", **headers})

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def recommend(self, body=None, **fields):
        return self.request("POST", "/recommend", json=fields if body is None else body)

    def send(self, content, content_type="application/json", **headers):
        """The response to raw bytes at `POST /recommend`."""
        return self.request("POST", "/recommend", content=content, headers={"Content-Type": content_type, **headers})

    def wait_ready(self):
        self.run(wait_until(lambda: self.registry.ready))
        return self


async def wait_until(condition, seconds=10):
    """Let the event loop run until the condition is true; TimeoutError if that takes longer than `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


def assert_problem(response, status, kind, pointer=None):
    """The document of a response that must be a complete, small RFC 9457 problem of that type, without a traceback."""
    document = json.loads(response.content)

    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, document["status"], document["type"]) == (status, status, f"/problems/{kind}")
    assert document["request_id"] == response.headers["x-request-id"]
    assert document["instance"].endswith(document["request_id"])
    assert document["title"] and document["detail"]
    assert set(document) <= {"type", "title", "status", "detail", "instance", "request_id", "errors"}
    assert len(document.get("errors", [])) <= 20
    assert len(response.content) < 8192
    assert "Traceback" not in response.text
    if pointer is not None:
        assert pointer in [error["pointer"] for error in document["errors"]]
    return document


def item_ids(response):
    """The ids of a 200's items, in order; scores must not rise."""
    assert response.status_code == 200, response.text
    items = response.json()["items"]
    scores = [item["score"] for item in items]
    assert scores == sorted(scores, reverse=True)
    return [item["item_id"] for item in items]
