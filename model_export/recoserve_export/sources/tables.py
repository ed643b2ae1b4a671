"""Reads plain tables: two arrays, two `.npy` files, or one `.safetensors` file."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import ExportRefused
from recoserve_export.graph.dot_score import DotSource, EmbeddingTable, check_tables
from recoserve_export.sources.safetensors_file import read_safetensors
from recoserve_export.sources.sides import pick_sides


def from_arrays(users: Any, items: Any, name: str = "model") -> DotSource:
    """Two arrays of floats, [U, d] and [N, d], as a source; raises ExportRefused for another shape or dtype."""
    return _source("numpy", name, float_table("user_table", np.asarray(users)), float_table("item_table", np.asarray(items)))


def from_npy(users: Path, items: Path) -> DotSource:
    """Two `.npy` files of floats, [U, d] and [N, d], as a source; memory-mapped. Raises ExportRefused for any other file."""
    digest = hashlib.sha256(bytes.fromhex(file_digest(users)) + bytes.fromhex(file_digest(items))).hexdigest()
    return _source("numpy", users.stem, _npy_table(users), _npy_table(items), digest)


def from_safetensors(path: Path, user: str | None = None, item: str | None = None) -> DotSource:
    """The user and the item tensor of a file, of two dimensions each, as a source.

    `user` and `item` name the tensors, if their names don't show which they are. Raises ExportRefused if that isn't certain, and
    for a file or for tensors that can't be used.
    """
    tensors = read_safetensors(path)
    matrices = [name for name, values in tensors.items() if values.ndim == 2 and values.dtype.kind == "f"]
    remedy = "--user-input and --item-input name tensors"
    sides = pick_sides(f"tensors of {path.name}", matrices, user, item, remedy=remedy)
    users, items = (float_table(name, tensors[name]) for name in sides)
    return _source("safetensors", path.stem, users, items, file_digest(path))


def float_table(name: str, values: NDArray[Any]) -> EmbeddingTable:
    """A table as float32, not copied if it is float32 already; raises ExportRefused unless it is a matrix of floats."""
    if values.ndim != 2:
        raise ExportRefused(f"table {name!r} has shape {list(values.shape)}; it must have two dimensions, one row per user or item")
    if not np.issubdtype(values.dtype, np.floating):
        raise ExportRefused(f"table {name!r} is {values.dtype}; embeddings must be floats")
    return EmbeddingTable(name, values.astype(np.float32, copy=False))


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal; raises ExportRefused if the file can't be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ExportRefused(f"{path}: {error.strerror}") from None


def _source(framework: str, name: str, users: EmbeddingTable, items: EmbeddingTable, digest: str | None = None) -> DotSource:
    check_tables(users, items)
    return DotSource(framework, {"numpy": np.__version__}, name, users, items, digest=digest)


def _npy_table(path: Path) -> EmbeddingTable:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise ExportRefused(f"{path}: not a .npy file of plain numbers (pickled objects are never loaded)") from None
    except OSError as error:
        raise ExportRefused(f"{path}: {error.strerror or error}") from None
    if not isinstance(values, np.ndarray):
        raise ExportRefused(f"{path}: an archive of several arrays; save each table with numpy.save")
    return float_table(path.name, values)
