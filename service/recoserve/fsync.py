"""Writes that survive a power failure."""

import os
from pathlib import Path


def fsync(path: Path) -> None:
    """Have the system write a file's bytes, or a folder's list of names, to the disk; raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
