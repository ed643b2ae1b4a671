"""A server under load: started, asked until it answers, stopped with everything that it started."""

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
MEMORY = Path("/dev/shm")  # noqa: S108  # logs are written, to memory, so that a slow disk costs nobody
V2_PATH = "/v2/models/recommender/infer"
START_SECONDS, STOP_SECONDS = 120, 20


def plain(user: int, k: int) -> dict[str, Any]:
    return {"user_id": user, "k": k}


def plain_rows(answer: Any) -> list[int]:
    return [item["item_id"] for item in answer["items"]]


def listed(user: int, k: int) -> dict[str, Any]:
    """BentoML's batchable endpoints take lists."""
    return {"requests": [plain(user, k)]}


def listed_rows(answer: Any) -> list[int]:
    return plain_rows(answer[0])


def tensors(user: int, k: int) -> dict[str, Any]:
    """The V2 inference protocol's."""
    given = {"user_id": user, "k": k}
    return {"inputs": [{"name": name, "shape": [1, 1], "datatype": "INT64", "data": [value]} for name, value in given.items()]}


def tensor_rows(answer: Any) -> list[int]:
    rows: list[int] = answer["outputs"][0]["data"]
    return rows


@dataclass(frozen=True, kw_only=True)
class Server(Contender):
    """A server: its command, and how it is asked and answers."""

    command: tuple[str, ...]
    path: str = "/recommend"
    body: Callable[[int, int], Any] = plain
    rows: Callable[[Any], list[int]] = plain_rows
    idle: bool = True  # whether it can stand by without using a core

    def request(self, user: int, k: int = 10) -> bytes:
        """One HTTP request."""
        return http_request(self.path, json.dumps(self.body(user, k), separators=(",", ":")).encode())


def http_request(path: str, body: bytes) -> bytes:
    """The bytes of a POST with a JSON body over a connection that is kept."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Running:
    """A server that answers. Raises SystemFailed where it isn't installed, ends, or doesn't answer in time."""

    def __init__(self, server: Server, peers: Path, bundle: Path) -> None:
        self.server = server
        self.port = free_port()
        self._log = tempfile.TemporaryFile(dir=MEMORY if MEMORY.is_dir() else None)  # noqa: SIM115  # closed with the process
        words = [word.format(port=self.port, bundle=bundle) for word in server.command]
        self._folder = tempfile.TemporaryDirectory(prefix="recoserve-bench-")
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [server.python(peers), "-P", *words],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=machine.environment(own=not server.peer),
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

    def answer(self, user: int, k: int = 10) -> Any:
        """Ask once; the JSON that comes back."""
        url = f"http://127.0.0.1:{self.port}{self.server.path}"
        body = json.dumps(self.server.body(user, k)).encode()
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=10) as answer:
            return json.load(answer)

    def stop(self) -> None:
        """End it, and what it started in its session, gently and then not."""
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
                raise SystemFailed(f"{self.server.name} ended with {self._process.returncode}: {self._last_words()}")
            try:
                self.answer(0)
                return
            except (urllib.error.URLError, OSError, ValueError):
                time.sleep(0.05)
        raise SystemFailed(f"{self.server.name} didn't answer in {START_SECONDS} s: {self._last_words()}")

    def _last_words(self) -> str:
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
