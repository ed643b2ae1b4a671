"""Settings of the C library's allocator under which freed memory goes back to the system."""

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
    """From now on, have one heap for all threads, and take blocks of 256 KiB and more from the system and give them back to it.

    A setting that the environment has is left as it is. Does nothing where the C library has no such settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    for variable, setting in SETTINGS.items():
        if mallopt and variable not in os.environ:
            mallopt(*setting)
