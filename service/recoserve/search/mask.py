"""Masks: a bit for every item, set if the item passes a filter."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Rows
from recoserve.bundle.contract import BLOCK


@dataclass(frozen=True, eq=False)
class Mask:
    """Which items pass: item i is bit i % 8 (from the least) of byte i // 8; zeros fill the last block of items.

    `bits` uint8 [blocks * BLOCK / 8], read-only; `count` is how many items pass.
    """

    # Bits, not bytes or rows: a million items take 128 KiB, which stays in a cache; filters are joined by `&` of bytes; and the
    # kernel reads the array without a copy. A block of 32 items is one uint32, so one comparison says whether any item of it
    # passes; the zeros behind the last item make that true of the last block too.
    bits: NDArray[np.uint8]
    count: int

    @classmethod
    def of_rows(cls, rows: NDArray[np.integer[Any]], item_count: int) -> Self:
        """The mask of `item_count` items that lets `rows`, in any order, pass."""
        flags = np.zeros(-(-item_count // BLOCK) * BLOCK, np.bool_)
        flags[rows] = True
        return cls.of_bits(np.packbits(flags, bitorder="little"))

    @classmethod
    def of_bits(cls, bits: NDArray[np.uint8]) -> Self:
        """The mask of `bits` uint8, whose length is a multiple of BLOCK / 8; they become read-only."""
        bits.setflags(write=False)  # requests share cached masks
        return cls(bits, int(np.bitwise_count(bits.view(np.uint32)).sum()))

    def passes(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each of `rows` passes: int64 of any shape -> bool of that shape. Rows may lie in the last block's padding."""
        bits: NDArray[np.uint8] = self.bits[rows >> 3] >> (rows & 7).astype(np.uint8) & 1
        return bits.view(np.bool_)

    def rows(self) -> Rows:
        """The rows that pass, ascending: int64 [count]."""
        return np.flatnonzero(np.unpackbits(self.bits, bitorder="little").view(np.bool_))

    def blocks(self) -> NDArray[np.bool_]:
        """Whether any item of each block passes: bool [blocks]."""
        return np.not_equal(self.bits.view(np.uint32), 0)

    def inverted(self, item_count: int) -> "Mask":
        """The mask that lets those of `item_count` items pass which this one doesn't."""
        flags = ~np.unpackbits(self.bits, bitorder="little").view(np.bool_)
        flags[item_count:] = False  # the padding, which holds no items
        return Mask.of_bits(np.packbits(flags, bitorder="little"))

    def __and__(self, other: "Mask") -> "Mask":
        return Mask.of_bits(self.bits & other.bits)
