"""A real service: a process of its own on a free port, ended by its pid."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx

START_SECONDS = 60


class Server:
    """A running `recoserve …` process and its address."""

    def __init__(self, process):
        self.process = process
        self.log = []
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        self.url = until(self._served_url, START_SECONDS)

    def _read_log(self):
        """Read the log for as long as the service runs: a full pipe would stop it."""
        for line in self.process.stderr:
            self.log.append(json.loads(line))

    def _served_url(self):
        assert self.process.poll() is None, f"the service ended before it served: {self.log}"
        return next((record["url"] for record in list(self.log) if record["message"] == "serving"), None)

    def get(self, path, **options):
        return httpx.get(self.url + path, timeout=30, **options)

    def recommend(self, **body):
        return httpx.post(self.url + "/recommend", json=body, timeout=30)

    def stop(self, sig=signal.SIGTERM):
        """Signal the service and wait for its end; returns the exit code. `log` is complete then."""
        self.process.send_signal(sig)
        code = self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        return code


@contextmanager
def serving(bundle, *options, **environment):
    """A running `recoserve serve BUNDLE`; `environment` are further variables."""
    command = [sys.executable, "-m", "recoserve", "serve", str(bundle), "--port", "0", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RECOSERVE_DRAIN_SECONDS": "0.5", **environment},
    )
    try:
        yield Server(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def until(condition, seconds=10.0):
    """Wait until the condition is true and return its value; AssertionError if that takes longer than `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"the condition did not become true in {seconds:g} s")
