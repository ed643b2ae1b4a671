"""Makes sure that what was written survives a power failure."""

import os
from pathlib import Path


def fsync(path: Path) -> None:
    """Make the system write a file's bytes, or a folder's list of names, to the disk now; raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
