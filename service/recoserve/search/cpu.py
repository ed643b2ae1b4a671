"""Finds out what this machine's CPUs allow: how many threads, and how fine an int8 product."""

import math
import os
import platform
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cpu_limit(cgroup: Path = CGROUP) -> int:
    """The number of threads worth starting: of the CPUs that the process may use, or the container's quota, rounded up, if smaller.

    ONNX Runtime's own default is the number of the host's cores, too many for a limited container.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(_read(cgroup / "cpu.max"))
    if quota is None:  # the files of cgroup version 1
        quota = _quota(f"{_read(cgroup / 'cpu/cpu.cfs_quota_us')} {_read(cgroup / 'cpu/cpu.cfs_period_us')}")
    return max(1, min(usable, math.ceil(quota))) if quota else usable


def query_levels(cpuinfo: Path = Path("/proc/cpuinfo")) -> int:
    """The largest integer, 127 or 63, to which a query may be scaled if its int8 products are to be exact on this machine.

    An x86 processor without VNNI adds products in pairs, in 16 bits that saturate silently: the sum is too small, and a bound made
    of it may be too low. With integers from -63 to 63, stored as 1 to 127, a pair stays within 2 * 127 * 127 < 2^15.
    """
    flags = set(_read(cpuinfo).split())
    has_exact_products = {"avx512_vnni", "avx_vnni"} & flags or platform.machine() in ("aarch64", "arm64")
    return 127 if has_exact_products else 63


def _quota(text: str) -> float | None:
    """The number of CPUs that a text `QUOTA PERIOD`, both in microseconds, allows; None where it sets no limit."""
    parts = text.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts) or int(parts[1]) == 0:
        return None
    return int(parts[0]) / int(parts[1]) or None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
