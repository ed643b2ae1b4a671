"""Asking an application without a socket, and the one check that every error must pass."""

import asyncio
import json

import httpx

from recoserve.settings import Settings
from recoserve.web.app import create_app


class Application:
    """An application over the loaders of its models, its lifespan running, asked synchronously; one event loop for all requests."""

    def __init__(self, *loaders, **settings):
        self.app = create_app(Settings(**settings), loaders)
        self.registry = self.app.registry
        self._runner = asyncio.Runner()

    def __enter__(self):
        self._lifespan = self.app.api.router.lifespan_context(self.app.api)
        self._runner.run(self._lifespan.__aenter__())
        transport = httpx.ASGITransport(self.app.asgi, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://service")
        return self

    def __exit__(self, *_):
        self._runner.run(self._client.aclose())
        self._runner.run(self._lifespan.__aexit__(None, None, None))
        self._runner.close()

    def request(self, method, path, **options):
        return self._runner.run(self._client.request(method, path, **options))

    def together(self, *bodies, path="/recommend", headers=None):
        """Several requests at once, `POST /recommend` if not said otherwise; the answers in the order asked."""
        return self.mixed(*((path, body) for body in bodies), headers=headers)

    def mixed(self, *asked, headers=None):
        """Several posts at once, each a path and a body; the answers in the order asked."""

        async def ask():
            return await asyncio.gather(*(self._client.post(path, json=body, headers=headers) for path, body in asked))

        return self._runner.run(ask())

    def post(self, path, body, **headers):
        """One body, as Python has it or as bytes."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, content=content, headers={"Content-Type": "application/json", **headers})

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def recommend(self, body=None, **fields):
        return self.request("POST", "/recommend", json=fields if body is None else body)

    def send(self, content, content_type="application/json", **headers):
        """Raw bytes to `POST /recommend`."""
        return self.request("POST", "/recommend", content=content, headers={"Content-Type": content_type, **headers})

    def wait_ready(self):
        async def wait():
            while not self.registry.ready:
                await asyncio.sleep(0.001)

        self._runner.run(asyncio.wait_for(wait(), 5))
        return self


def assert_problem(response, status, kind, pointer=None):
    """An RFC 9457 document of that type, whole, small, and without a trace of the input's neighbourhood."""
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
