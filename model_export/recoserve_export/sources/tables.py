"""Plain tables: two arrays, two `.npy` files, or one `.safetensors` file."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import ExportRefused
from recoserve_export.graph.dot_score import DotSource, Table, check_tables

USER_NAMES = ("user",)
ITEM_NAMES = ("item", "movie", "book", "product")
FLOAT_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
OTHER_DTYPES = {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1", "BOOL": "|b1"}
SAFETENSORS_DTYPES = FLOAT_DTYPES | OTHER_DTYPES


def from_arrays(users: Any, items: Any, name: str = "model") -> DotSource:
    """Two arrays of floats, [U, d] and [N, d]; raises ExportRefused for another shape or dtype."""
    return _source("numpy", name, float_table("user_table", np.asarray(users)), float_table("item_table", np.asarray(items)))


def from_npy(users: Path, items: Path) -> DotSource:
    """Two `.npy` files of floats, [U, d] and [N, d], mapped rather than read; raises ExportRefused."""
    digest = hashlib.sha256(bytes.fromhex(file_digest(users)) + bytes.fromhex(file_digest(items))).hexdigest()
    return _source("numpy", users.stem, _npy(users), _npy(items), digest)


def from_safetensors(path: Path, user: str | None = None, item: str | None = None) -> DotSource:
    """A `.safetensors` file with one user and one item tensor of two dimensions, found by name or named by the caller."""
    tensors = read_safetensors(path)
    matrices = [name for name, values in tensors.items() if values.ndim == 2 and values.dtype.kind == "f"]
    user_name, item_name = pick_sides(f"tensors of {path.name}", matrices, user, item, "--user-input and --item-input name tensors")
    users, items = (float_table(name, tensors[name]) for name in (user_name, item_name))
    return _source("safetensors", path.stem, users, items, file_digest(path))


def float_table(name: str, values: NDArray[Any]) -> Table:
    """A table as float32, without a copy where it is float32 already; raises ExportRefused unless it is a matrix of floats."""
    if values.ndim != 2:
        raise ExportRefused(f"table {name!r} has shape {list(values.shape)}; it must have two dimensions, one row per user or item")
    if not np.issubdtype(values.dtype, np.floating):
        raise ExportRefused(f"table {name!r} is {values.dtype}; embeddings must be floats")
    return Table(name, values.astype(np.float32, copy=False))


def pick_sides(
    what: str, names: Sequence[str], user: str | None, item: str | None, remedy: str, features: Collection[str] = ()
) -> tuple[str, str]:
    """Which name is the user's and which the item's; raises ExportRefused, listing all, where that is not plain.

    `features` are names that are neither; a name that is a side's own word, such as `item`, stands before one that has it within,
    such as `item_genre`.
    """
    listing = f"the {what} are: {', '.join(names) or 'none'}. {remedy}"
    if unknown := [name for name in features if name not in names]:
        raise ExportRefused(f"no {unknown[0]!r} among them: {listing}")
    found = []
    for side, given, hints in (("user", user, USER_NAMES), ("item", item, ITEM_NAMES)):
        matches = (
            [name for name in names if name == given] if given else _named_like(hints, [n for n in names if n not in features])
        )
        if len(matches) != 1:
            problem = f"no {given!r} among them" if given else f"{len(matches) or 'none'} of them named like the {side} side"
            raise ExportRefused(f"can't tell which is the {side}'s ({problem}): {listing}")
        found.append(matches[0])
    if found[0] == found[1]:
        raise ExportRefused(f"{found[0]!r} can't be both the user's and the item's: {listing}")
    if named := set(found) & set(features):
        raise ExportRefused(f"{named.pop()!r} can't be a feature and the user's or the item's own: {listing}")
    return found[0], found[1]


def _named_like(hints: Sequence[str], names: Sequence[str]) -> list[str]:
    exact = [name for name in names if re.sub(r"[^a-z]", "", name.lower()).removesuffix("id") in hints]
    return exact if len(exact) == 1 else [name for name in names if any(hint in name.lower() for hint in hints)]


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal; raises ExportRefused where it can't be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ExportRefused(f"{path}: {error.strerror}") from None


def _source(framework: str, name: str, users: Table, items: Table, digest: str | None = None) -> DotSource:
    check_tables(users, items)
    return DotSource(framework, {"numpy": np.__version__}, name, users, items, digest=digest)


def _npy(path: Path) -> Table:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise ExportRefused(f"{path}: not a .npy file of plain numbers (pickled objects are never loaded)") from None
    except OSError as error:
        raise ExportRefused(f"{path}: {error.strerror or error}") from None
    if not isinstance(values, np.ndarray):
        raise ExportRefused(f"{path}: an archive of several arrays; save each table with numpy.save")
    return float_table(path.name, values)


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of the file: eight bytes of header length, a JSON header, then raw data, which is mapped here."""
    damaged = ExportRefused(f"{path}: not a .safetensors file, or cut off")
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if 0 < size <= 100 << 20 else None
        if not isinstance(header, dict):
            raise damaged
        entries = {name: entry for name, entry in header.items() if name != "__metadata__" and entry["dtype"] in SAFETENSORS_DTYPES}
        return {name: _tensor(path, 8 + size, entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError):
        raise damaged from None
    except OSError as error:
        raise ExportRefused(f"{path}: {error.strerror or error}") from None


def _tensor(path: Path, base: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    dtype, shape, (start, end) = np.dtype(SAFETENSORS_DTYPES[entry["dtype"]]), tuple(entry["shape"]), entry["data_offsets"]
    if start < 0 or end - start != prod(shape) * dtype.itemsize or base + end > path.stat().st_size:
        raise ValueError("outside the file")
    if not prod(shape):
        return np.zeros(shape, np.float32)
    values = np.memmap(path, dtype, mode="r", offset=base + start, shape=shape)
    if entry["dtype"] == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values
