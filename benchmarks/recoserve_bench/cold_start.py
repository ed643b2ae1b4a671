"""How long the demo takes from nothing to its first answer, and how much memory it then holds.

    python -m recoserve_bench.cold_start [--runs 5]

Starts `recoserve serve` on the built-in bundle with a warm file cache, asks `/readyz` until it says 200, then sends
1,000 requests. Prints the median, the smallest and the largest of the runs.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

from recoserve import demo
from recoserve_bench.http.server import free_port
from recoserve_bench.soak import memory_mib

BODY = b'{"user_id": 42, "k": 10}'


def is_ready(url: str) -> bool:
    """Whether the service says that it can answer."""
    try:
        with urllib.request.urlopen(url + "/readyz", timeout=1) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def run() -> tuple[float, float, float]:
    """Seconds to ready; MiB of resident memory when ready; MiB after 1,000 requests."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    began = time.perf_counter()
    command = [sys.executable, "-m", "recoserve", "serve", str(demo.BUNDLE), "--port", str(port), "--drain-seconds", "0"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while not is_ready(url):
            if process.poll() is not None:
                raise SystemExit(f"the service ended with {process.returncode}")
            time.sleep(0.002)
        seconds, at_start = time.perf_counter() - began, memory_mib(process.pid)[0]
        request = urllib.request.Request(url + "/recommend", BODY, {"Content-Type": "application/json"})
        for _ in range(1000):
            urllib.request.urlopen(request, timeout=10).close()
        return seconds, at_start, memory_mib(process.pid)[0]
    finally:
        process.terminate()
        process.wait(timeout=30)


def main() -> None:
    """Run as often as the command line says, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    count = parser.parse_args().runs
    runs = [run() for _ in range(count)]
    print(f"{count} runs, {os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}")
    titles = ("start to /readyz 200, s", "resident when ready, MiB", "resident after 1,000 requests, MiB")
    for title, values in zip(titles, zip(*runs, strict=True), strict=True):
        print(f"{title:36} median {statistics.median(values):7.2f}   {min(values):.2f} to {max(values):.2f}")


if __name__ == "__main__":
    main()
