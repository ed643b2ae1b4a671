"""Configures the C library's allocator so that freed memory goes back to the system."""

import ctypes
import os

# By default glibc has a heap for each thread, takes large blocks from the heaps as soon as one such block was freed, and returns
# only what is free at a heap's end. After a million responses of all sizes the service is some MiB larger, which nobody can tell
# from a leak (docs/decisions/0018). Environment variable -> (parameter of mallopt, value); see mallopt(3).
SETTINGS = {
    "MALLOC_ARENA_MAX": (-8, 1),
    "MALLOC_MMAP_THRESHOLD_": (-3, 256 << 10),
    "MALLOC_TRIM_THRESHOLD_": (-1, 4 << 20),
}


def configure() -> None:
    """Make the allocator use one heap for all threads, and return every block of 256 KiB or more, once freed, to the system.

    Up to 4 MiB may lie free at the heap's end. A setting whose variable is in the environment is left as it is. Does nothing where
    the C library has no `mallopt`.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    for variable, setting in SETTINGS.items():
        if mallopt and variable not in os.environ:
            mallopt(*setting)
