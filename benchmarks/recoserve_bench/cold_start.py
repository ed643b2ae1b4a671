"""How long the demo takes from nothing to its first answer, and what it then weighs.

    python -m recoserve_bench.cold_start [--runs 5]

Starts `recoserve serve` on the built-in bundle with a warm file cache, asks `/readyz` until it says 200, then answers
1,000 requests. Prints the median, the smallest and the largest of the runs.
"""

import argparse
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from recoserve import demo

BODY = b'{"user_id": 42, "k": 10}'


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def resident_mib(pid: int) -> float:
    """Resident memory of a process, MiB (Linux)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def run() -> tuple[float, float, float]:
    """Seconds to ready; MiB when ready; MiB after 1,000 requests."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    began = time.perf_counter()
    command = [sys.executable, "-m", "recoserve", "serve", str(demo.BUNDLE), "--port", str(port), "--drain-seconds", "0"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while not ready(url):
            if process.poll() is not None:
                raise SystemExit(f"the service ended with {process.returncode}")
            time.sleep(0.002)
        seconds, at_start = time.perf_counter() - began, resident_mib(process.pid)
        request = urllib.request.Request(url + "/recommend", BODY, {"Content-Type": "application/json"})
        for _ in range(1000):
            urllib.request.urlopen(request, timeout=10).close()
        return seconds, at_start, resident_mib(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    figures = [run() for _ in range(runs)]
    print(f"{runs} runs, {os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}")
    names = ("start to /readyz 200, s", "resident when ready, MiB", "resident after 1,000 requests, MiB")
    for name, values in zip(names, zip(*figures, strict=True), strict=True):
        print(f"{name:36} median {statistics.median(values):7.2f}   {min(values):.2f} to {max(values):.2f}")


if __name__ == "__main__":
    main()
