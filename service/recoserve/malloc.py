"""The C library's heap, told to give back what is no longer needed."""

import ctypes
import os

# Left alone, glibc learns from every large block that is freed to take the next ones from its heaps, has heaps for each thread, and
# returns only what lies at their ends: after a million answers of all sizes it is some MiB larger, and nobody can say whether that
# is a leak. Environment variable -> (parameter of mallopt, value); see mallopt(3).
SETTINGS = {
    "MALLOC_ARENA_MAX": (-8, 1),
    "MALLOC_MMAP_THRESHOLD_": (-3, 256 << 10),
    "MALLOC_TRIM_THRESHOLD_": (-1, 4 << 20),
}


def configure() -> None:
    """From now on one heap for all threads, from which blocks of 256 KiB and more stay out; the environment's own wishes hold.

    Does nothing where the C library has no such settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    for variable, setting in SETTINGS.items():
        if mallopt and variable not in os.environ:
            mallopt(*setting)
