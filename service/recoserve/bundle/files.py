"""A bundle's files as bytes, memory maps, arrays and digests."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.graph_file import Tensor
from recoserve.errors import BundleInvalid


def read_bytes(path: Path, limit: int) -> bytes:
    """All bytes of a file; raises BundleInvalid if there are more than `limit`, so that no file fills the memory."""
    if path.stat().st_size > limit:
        raise BundleInvalid([f"{path.name}: larger than {limit >> 20} MiB"])
    return path.read_bytes()


def map_bytes(path: Path) -> NDArray[np.uint8]:
    """A file's bytes, uint8 [size], as a memory map; an empty file can't be mapped, and gives an empty array."""
    return np.memmap(path, np.uint8, mode="r") if path.stat().st_size else np.zeros(0, np.uint8)


def map_array(path: Path) -> NDArray[Any]:
    """The array of a `.npy` file as a memory map; raises BundleInvalid for any other file."""
    try:
        # A pickled array runs code of its author's choice when it is loaded.
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise BundleInvalid([f"{path.name}: not a NumPy array of plain numbers (a pickled one is never read)"]) from None
    return array


def map_tensor(folder: Path, tensor: Tensor, dtype: Any) -> NDArray[Any]:
    """A tensor's external data as a memory map of its shape. To be called only after `graph_file.tensor_problems` found nothing."""
    name, offset, _ = tensor.byte_range
    return np.memmap(folder / name, dtype, mode="r", offset=offset, shape=tensor.dims)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
