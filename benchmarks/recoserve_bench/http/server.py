"""A server under load: started, polled until it answers, stopped with every process that it started."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from recoserve_bench import machine
from recoserve_bench.contender import Contender
from recoserve_bench.errors import SystemFailed

SCRIPTS = Path(__file__).parent / "servers"
MEMORY = Path("/dev/shm")  # noqa: S108  # logs go to memory, so that a slow disk costs no server anything
V2_PATH = "/v2/models/recommender/infer"
START_SECONDS, STOP_SECONDS = 120, 20


def plain_body(user: int, k: int) -> dict[str, Any]:
    """A request as this product takes it."""
    return {"user_id": user, "k": k}


def plain_items(document: Any) -> list[int]:
    """The item ids of a response as this product gives it."""
    return [item["item_id"] for item in document["items"]]


def list_body(user: int, k: int) -> dict[str, Any]:
    """A list of one request, as BentoML's batchable endpoints take them."""
    return {"requests": [plain_body(user, k)]}


def list_items(document: Any) -> list[int]:
    """The item ids of a list of one response."""
    return plain_items(document[0])


def tensor_body(user: int, k: int) -> dict[str, Any]:
    """A request of the V2 inference protocol."""
    values = {"user_id": user, "k": k}
    return {"inputs": [{"name": name, "shape": [1, 1], "datatype": "INT64", "data": [value]} for name, value in values.items()]}


def tensor_items(document: Any) -> list[int]:
    """The item ids of a response of the V2 inference protocol."""
    items: list[int] = document["outputs"][0]["data"]
    return items


@dataclass(frozen=True, kw_only=True)
class Server(Contender):
    """A server: its command, and the form of its requests and responses."""

    command: tuple[str, ...]
    path: str = "/recommend"
    body: Callable[[int, int], Any] = plain_body
    items: Callable[[Any], list[int]] = plain_items
    sleeps_when_idle: bool = True  # or else it uses a core while nobody calls it, and would slow the others down

    def request(self, user: int, k: int = 10) -> bytes:
        """The bytes of one HTTP request for a user's k best items."""
        return http_request(self.path, json.dumps(self.body(user, k), separators=(",", ":")).encode())


def http_request(path: str, body: bytes) -> bytes:
    """The bytes of a POST with a JSON body, on a connection that stays open."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Running:
    """A server that is running and answers. Raises SystemFailed where it isn't installed, ends, or doesn't answer in time."""

    def __init__(self, server: Server, peers: Path, bundle: Path) -> None:
        self.server = server
        self.port = free_port()
        self._log = tempfile.TemporaryFile(dir=MEMORY if MEMORY.is_dir() else None)  # noqa: SIM115  # closed with the process
        arguments = [argument.format(port=self.port, bundle=bundle) for argument in server.command]
        self._folder = tempfile.TemporaryDirectory(prefix="recoserve-bench-")
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [server.python(peers), "-P", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=machine.environment(server.peer),
            cwd=self._folder.name,
            start_new_session=True,
        )
        self.pid = self._process.pid
        try:
            self._wait(began + START_SECONDS)
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.perf_counter() - began

    def response(self, user: int, k: int = 10) -> Any:
        """The JSON of the response to one request."""
        url = f"http://127.0.0.1:{self.port}{self.server.path}"
        body = json.dumps(self.server.body(user, k)).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def stop(self) -> None:
        """End it, and every process of its session: by SIGINT, and where that doesn't do, by SIGKILL."""
        for sign in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(self.pid, sign)
                self._process.wait(timeout=STOP_SECONDS)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.wait(timeout=STOP_SECONDS)
        self._log.close()
        self._folder.cleanup()

    def _wait(self, deadline: float) -> None:
        while time.perf_counter() < deadline:
            if self._process.poll() is not None:
                raise SystemFailed(f"{self.server.name} ended with {self._process.returncode}: {self._last_lines()}")
            try:
                self.response(0)
                return
            except (urllib.error.URLError, OSError, ValueError):
                time.sleep(0.05)
        raise SystemFailed(f"{self.server.name} didn't answer in {START_SECONDS} s: {self._last_lines()}")

    def _last_lines(self) -> str:
        self._log.seek(0)
        return "; ".join(self._log.read().decode(errors="replace").strip().splitlines()[-3:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
