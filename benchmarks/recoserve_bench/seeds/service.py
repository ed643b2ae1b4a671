"""`recoserve serve` in a process of its own, called over HTTP."""

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
    """A running service and its address."""

    url: str

    def recommend(self, user: int, k: int) -> list[dict[str, Any]]:
        """The items of a response, best first: dicts of `item_id` and `score`."""
        body = json.dumps({"user_id": user, "k": k}).encode()
        request = urllib.request.Request(f"{self.url}/recommend", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                items: list[dict[str, Any]] = json.load(response)["items"]
                return items
        except urllib.error.HTTPError as error:
            raise SystemFailed(f"the service answered {error.code}: {error.read().decode(errors='replace')[:300]}") from None


@contextmanager
def serving(bundle: Path) -> Iterator[Service]:
    """The real service on a port that was free; raises SystemFailed where it isn't ready in time."""
    port = free_port()
    log = bundle.with_suffix(".log")
    command = [sys.executable, "-P", "-m", "recoserve", "serve", str(bundle), "--port", str(port), "--drain-seconds", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=machine.environment(), cwd=bundle.parent, stdin=subprocess.DEVNULL
        )
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}", log)
        yield Service(f"http://127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise SystemFailed(f"the service wasn't ready: {log.read_text(errors='replace')[-500:]}")
