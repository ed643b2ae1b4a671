"""A small HTTP server that sends scripted responses, for what a real service does seldom."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

MODEL = {"name": "films", "version": "1"}
RESPONSE = {"user_id": 42, "items": [{"item_id": 7, "score": 0.5}], "model": MODEL}


class Script(NamedTuple):
    """One response: after `delay` seconds the head, then the body, with `pause` seconds before each of its bytes."""

    status: int
    body: str
    headers: dict | None = None
    content_type: str = "application/json"
    delay: float = 0.0
    pause: float = 0.0


CUT = "close the connection without a response"


def success(document=RESPONSE, **options):
    """A response of status 200 with a JSON body."""
    return Script(200, json.dumps(document), **options)


def problem(slug, status, headers=None, **members):
    """A problem document as the service writes it."""
    document = {
        "type": f"/problems/{slug}",
        "title": slug,
        "status": status,
        "detail": "as scripted",
        "instance": "/requests/r1",
        "request_id": "r1",
        **members,
    }
    return Script(status, json.dumps(document), headers, "application/problem+json")


class ReceivedRequest(NamedTuple):
    """One request as it arrived."""

    method: str
    path: str
    headers: dict
    body: dict | None


class ScriptedServer:
    """The server's address, the requests that arrived, and the number of connections that they came by."""

    def __init__(self, scripts):
        self.requests = []
        self.connections = 0
        self._scripts = list(scripts)

    def next_script(self):
        """The next response; the last one again and again."""
        return self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]


@contextmanager
def scripted(*scripts):
    """Serve the scripted responses on a free port, one for each request."""
    state = ScriptedServer(scripts)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self):
            state.connections += 1
            super().setup()

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.requests.append(ReceivedRequest(self.command, self.path, headers, json.loads(body) if body else None))
            script = state.next_script()
            if script == CUT:
                self.close_connection = True
            else:
                self.respond(script)

        do_POST = do_GET  # noqa: N815  # the name that http.server looks for

        def respond(self, script):
            time.sleep(script.delay)
            self.send_response(script.status)
            headers = {"Content-Type": script.content_type, "Content-Length": len(script.body), **(script.headers or {})}
            for name, value in headers.items():
                self.send_header(name, str(value))
            self.end_headers()
            for text in script.body if script.pause else [script.body]:
                time.sleep(script.pause)
                self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        block_on_close = False

        def handle_error(self, *_):
            """Print nothing: in some tests the client disconnects before the response."""

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
