"""The service that answers: `recoserve serve` in a process of its own, asked over HTTP."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recoserve_bench import machine
from recoserve_bench.errors import SystemFailed
from recoserve_bench.http.server import free_port

START_SECONDS, STOP_SECONDS = 120, 30


@dataclass(frozen=True)
class Service:
    """Where it answers."""

    url: str

    def recommend(self, user: int, k: int) -> list[dict[str, Any]]:
        """The items of one answer, best first."""
        body = json.dumps({"user_id": user, "k": k}).encode()
        request = urllib.request.Request(f"{self.url}/recommend", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found: list[dict[str, Any]] = json.load(answer)["items"]
                return found
        except urllib.error.HTTPError as error:
            raise SystemFailed(f"the service answered {error.code}: {error.read().decode(errors='replace')[:300]}") from None


@contextmanager
def serving(bundle: Path) -> Iterator[Service]:
    """The real service on a port that was free; raises SystemFailed where it isn't ready in time."""
    port = free_port()
    log = bundle.with_suffix(".log")
    command = [sys.executable, "-P", "-m", "recoserve", "serve", str(bundle), "--port", str(port), "--drain-seconds", "0"]
    with log.open("wb") as words:
        process = subprocess.Popen(
            command, stdout=words, stderr=words, env=machine.environment(own=True), cwd=bundle.parent, stdin=subprocess.DEVNULL
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}", log)
        yield Service(f"http://127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise SystemFailed(f"the service wasn't ready: {log.read_text(errors='replace')[-500:]}")
