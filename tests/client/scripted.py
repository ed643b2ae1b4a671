"""A small HTTP server that answers what it is told to, for what a real service does seldom."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

MODEL = {"name": "films", "version": "1"}
ANSWER = {"user_id": 42, "items": [{"item_id": 7, "score": 0.5}], "model": MODEL}


class Say(NamedTuple):
    """One reply: after `delay` seconds, the head, then the body, `pause` seconds before each of its bytes if that is above 0."""

    status: int
    body: str
    headers: dict | None = None
    content_type: str = "application/json"
    delay: float = 0.0
    pause: float = 0.0


CUT = "close the connection without a word"


def answering(document=ANSWER, **how):
    return Say(200, json.dumps(document), **how)


def problem(slug, status, headers=None, **members):
    """A problem document as the service writes it."""
    document = {
        "type": f"/problems/{slug}",
        "title": slug,
        "status": status,
        "detail": "as told",
        "instance": "/requests/r1",
        "request_id": "r1",
        **members,
    }
    return Say(status, json.dumps(document), headers, "application/problem+json")


class Asked(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    headers: dict
    body: dict | None


class Scripted:
    """Its address, the requests that came, and how many connections they came over. The last reply is given again and again."""

    def __init__(self, replies):
        self.asked = []
        self.connections = 0
        self._replies = list(replies)

    def next_reply(self):
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]


@contextmanager
def scripted(*replies):
    """Serve the replies, one for each request, on a free port."""
    state = Scripted(replies)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self):
            state.connections += 1
            super().setup()

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.asked.append(Asked(self.command, self.path, headers, json.loads(body) if body else None))
            reply = state.next_reply()
            if reply == CUT:
                self.close_connection = True
            else:
                self.say(reply)

        do_POST = do_GET  # noqa: N815  # the name that http.server looks for

        def say(self, reply):
            time.sleep(reply.delay)
            self.send_response(reply.status)
            own = {"Content-Type": reply.content_type, "Content-Length": len(reply.body)}
            for name, value in {**own, **(reply.headers or {})}.items():
                self.send_header(name, str(value))
            self.end_headers()
            for piece in reply.body if reply.pause else [reply.body]:
                time.sleep(reply.pause)
                self.wfile.write(piece.encode())

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        block_on_close = False

        def handle_error(self, *_):
            """A caller that left before its answer is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
