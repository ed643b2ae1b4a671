"""JSON Lines: item metadata (one object for each row) and string ids (one string for each row)."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import BundleInvalid


class JsonLines:
    """The JSON values of a file, by line number. A line is parsed each time it is read, so a memory map stays on the disk.

    `buffer` uint8 [bytes], usually a memory map; raises BundleInvalid where the last line has no line end.
    """

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


def encode_lines(values: Iterable[Any]) -> Iterator[bytes]:
    """Each value as a line of UTF-8 JSON; raises TypeError or ValueError for what JSON can't hold, NaN and infinity included."""
    return ((json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode() for value in values)
