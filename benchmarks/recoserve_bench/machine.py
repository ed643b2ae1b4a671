"""The machine, the versions and the command that figures come from; and the environment of the processes that make them."""

import os
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

import recoserve
import recoserve_bench
import recoserve_export
from recoserve.search.kernel.library import load_best


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def description() -> str:
    """One line: processor, cores, the search kernel it runs, Python, the packages that matter here, a real-time priority."""
    packages = [f"{name} {version(name)}" for name in ("recoserve", "numpy", "onnxruntime")]
    library = load_best()
    kernel = f"kernel {library.name}" if library else "no kernel"
    return ", ".join([f"{_processor()}, {cores()} cores", kernel, f"Python {platform.python_version()}", *packages, *_priority()])


def command() -> str:
    """The command line of this process, with the program's name in place of its path."""
    program = ["recoserve"] if "bench" in sys.argv[1:2] else ["python", "-m", "recoserve_bench"]
    return shlex.join([*program, *sys.argv[1:]])


def environment(peer: str | None = None) -> dict[str, str]:
    """Variables for another process: this Python finds these same packages wherever it starts, a peer's Python only its own.

    Processes start with `-P`, in folders of their own, so packages that are found by the current folder alone would be lost.
    """
    packages = dict.fromkeys(str(Path(*module.__path__).parent) for module in (recoserve, recoserve_export, recoserve_bench))
    inherited = [path for path in [os.environ.get("PYTHONPATH")] if path]
    return os.environ | {"PYTHONPATH": "" if peer else os.pathsep.join([*packages, *inherited])}


def _priority() -> list[str]:
    """A note if this runs under `chrt --rr 1 recoserve bench …`: all systems inherit it, so nothing takes their cores (Linux)."""
    real_time = hasattr(os, "SCHED_RR") and os.sched_getscheduler(0) in (os.SCHED_RR, os.SCHED_FIFO)
    return ["real-time priority"] if real_time else []


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
