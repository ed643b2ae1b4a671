"""What a bundle says of its items: one JSON object for each row."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import BundleInvalid


class Lines:
    """JSON Lines over a buffer (usually a memory map): line i is decoded when it is asked for, not before."""

    def __init__(self, buffer: NDArray[np.uint8]) -> None:
        ends = np.flatnonzero(buffer == ord("\n"))
        if len(buffer) and (not len(ends) or ends[-1] != len(buffer) - 1):
            raise BundleInvalid(["the last line is cut off"])
        self._buffer = buffer
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: int) -> Any:
        start = self._ends[row - 1] + 1 if row else 0
        return json.loads(self._buffer[start : self._ends[row]].tobytes())


class ItemMetadata:
    """Item metadata, one JSON object per row."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def metadata(self, row: int) -> dict[str, Any]:
        """The columns of one item, by name."""
        columns: dict[str, Any] = self._lines[row]
        return columns


def lines(rows: Iterable[Any]) -> Iterable[bytes]:
    """Encode rows as JSON Lines."""
    return ((json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode() for row in rows)
