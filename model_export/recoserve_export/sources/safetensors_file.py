"""Reads `.safetensors` files without their package: eight bytes of header length, a JSON header, then raw tensors."""

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import ExportRefused

FLOAT_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
OTHER_DTYPES = {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1", "BOOL": "|b1"}
DTYPES = FLOAT_DTYPES | OTHER_DTYPES
MAX_HEADER_BYTES = 100 << 20


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of the file, by name, as a memory map; bfloat16 is converted to float32.

    Tensors of a dtype that DTYPES lacks are left out. Raises ExportRefused for a damaged file and for one that can't be read.
    """
    damaged = ExportRefused(f"{path}: not a .safetensors file, or cut off; save it anew")
    try:
        with open(path, "rb") as file:
            header_length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(header_length)) if 0 < header_length <= MAX_HEADER_BYTES else None
        if not isinstance(header, dict):
            raise damaged
        entries = {name: entry for name, entry in header.items() if name != "__metadata__" and entry["dtype"] in DTYPES}
        return {name: _tensor(path, 8 + header_length, entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise damaged from None
    except OSError as error:
        raise ExportRefused(f"{path}: {error.strerror or error}") from None


def _tensor(path: Path, base: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    dtype, shape, (start, end) = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"]), entry["data_offsets"]
    if start < 0 or end - start != prod(shape) * dtype.itemsize or base + end > path.stat().st_size:
        raise ValueError("outside the file")
    if not prod(shape):
        return np.zeros(shape, np.float32)  # an empty range can't be memory-mapped
    values = np.memmap(path, dtype, mode="r", offset=base + start, shape=shape)
    if entry["dtype"] == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)  # bfloat16, unknown to NumPy, is the upper half of a float32
    return values
