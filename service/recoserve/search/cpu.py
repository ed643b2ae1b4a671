"""How many CPUs this process may really use."""

import math
import os
import platform
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cpu_limit(cgroup: Path = CGROUP) -> int:
    """Threads worth starting: the smaller of the CPUs it is pinned to and the container's quota, rounded up; at least 1.

    The runtime's own default is the host's core count, which oversubscribes a limited container.
    """
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(_read(cgroup / "cpu.max"))
    if quota is None:
        quota = _quota(f"{_read(cgroup / 'cpu/cpu.cfs_quota_us')} {_read(cgroup / 'cpu/cpu.cfs_period_us')}")
    return max(1, min(pinned, math.ceil(quota))) if quota else pinned


def query_levels(cpuinfo: Path = Path("/proc/cpuinfo")) -> int:
    """How finely an int8 product may round its query and still be exact on this machine: 127 steps to each side, or 63.

    An x86 processor without VNNI adds products in pairs, in 16 bits, which saturate without a word; a bound made of such sums
    would be none. A query of 63 steps to each side keeps a pair within 2 * 127 * 127 < 2^15, on any processor.
    """
    words = set(_read(cpuinfo).replace("\t", " ").split())
    exact = {"avx512_vnni", "avx_vnni"} & words or platform.machine() in ("aarch64", "arm64")
    return 127 if exact else 63


def _quota(text: str) -> float | None:
    """CPUs from `QUOTA PERIOD` in microseconds; None where there is no limit."""
    parts = text.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts) or int(parts[1]) == 0:
        return None
    return int(parts[0]) / int(parts[1]) or None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
