"""What is written stays written, though the power fails."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Have the system write a file, or a folder's entries, to the disk; raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
