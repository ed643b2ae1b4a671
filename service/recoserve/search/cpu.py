"""What this machine's CPUs allow: how many threads, and how fine an int8 product."""

import math
import os
import platform
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cpu_limit(cgroup: Path = CGROUP) -> int:
    """Threads worth starting: the CPUs that the process is pinned to, or the container's quota, rounded up, if that is smaller.

    The runtime's own default is the host's core count, which oversubscribes a limited container.
    """
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(_read(cgroup / "cpu.max"))
    if quota is None:
        quota = _quota(f"{_read(cgroup / 'cpu/cpu.cfs_quota_us')} {_read(cgroup / 'cpu/cpu.cfs_period_us')}")
    return max(1, min(pinned, math.ceil(quota))) if quota else pinned


def query_levels(cpuinfo: Path = Path("/proc/cpuinfo")) -> int:
    """How finely an int8 product may round its query and still be exact on this machine: 127 steps to each side of 0, or 63.

    An x86 processor without VNNI adds products in pairs, in 16 bits that saturate silently: the sum is too small, and a bound made
    of it may be too low. A query of 63 steps, from 0 to 126 around its zero, keeps a pair within 2 * 126 * 127 < 2^15.
    """
    flags = set(_read(cpuinfo).split())
    exact = {"avx512_vnni", "avx_vnni"} & flags or platform.machine() in ("aarch64", "arm64")
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
