"""A catalogue laid out for the kernel, and the threads that search it."""

import weakref
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.int8_index import Int8Index
from recoserve.bundle.leading_dimensions import count_leading_dimensions
from recoserve.search.kernel.library import Library, Table

QUAD = 4
LINE = 64  # bytes, of a cache
COUNTS = 2  # `Counts` of kernel.h: found, scored


class Passing(Protocol):
    """Which items may be in an answer: item i is bit i % 8 of byte i // 8."""

    @property
    def bits(self) -> NDArray[np.uint8]: ...


class Wanted(Protocol):
    """What is asked with a vector: the `k` best without `excluded` (ascending rows), and only those that the `mask` lets pass."""

    @property
    def k(self) -> int: ...
    @property
    def excluded(self) -> NDArray[np.int64]: ...
    @property
    def mask(self) -> Passing | None: ...


class Found(NamedTuple):
    """`rows` int64 and `products` float32, best first, equals by row: room for every query's k, one query behind the other.

    `counts` tells how many of them an answer has, `scored` how many items were scored for it.
    """

    rows: NDArray[np.int64]
    products: NDArray[np.float32]
    counts: Sequence[int]
    scored: Sequence[int]


class Index:
    """The items, float32 [N, d] (usually a memory map), and their int8 copy in the order that the kernel multiplies.

    That order depends on the processor, so it is made here, in as much memory as the int8 copy has. `threads` search together.
    """

    def __init__(self, library: Library, items: NDArray[np.float32], copy: Int8Index, threads: int) -> None:
        self._library = library
        self._table, self._arrays = self._described(items, copy)
        pieces = np.array([piece.ctypes.data for piece in copy.pieces], np.uint64)
        self._table.head = self._measured(pieces)
        self._lay_out(pieces, threads)
        self._pool = library.pool_open(threads)
        if not self._pool:
            raise MemoryError("no memory for the search's threads")
        weakref.finalize(self, library.pool_close, self._pool).atexit = False  # a daemon thread may be searching then

    def _described(self, items: NDArray[np.float32], copy: Int8Index) -> tuple[Table, list[NDArray[Any]]]:
        """The kernel's view, and the arrays it points to: they have to stay as long as it does."""
        counts = np.array([piece.shape[1] for piece in copy.pieces], np.int64)
        arrays: list[NDArray[Any]] = [items, counts, *map(np.copy, (copy.rotation, copy.step, copy.error, copy.norm))]
        addresses = [array.ctypes.data for array in arrays]
        return Table(*addresses, None, None, None, len(items), len(counts), items.shape[1], items.shape[1]), arrays

    def _measured(self, pieces: NDArray[np.uint64]) -> int:
        """How many dimensions the head has, from what each dimension of the int8 copy holds."""
        energies = np.zeros(self._table.dim)
        self._library.measure(byref(self._table), pieces.ctypes.data, energies.ctypes.data)
        return count_leading_dimensions(energies)

    def _lay_out(self, pieces: NDArray[np.uint64], threads: int) -> None:
        """Bring the pieces into order; they are not needed afterwards."""
        table, fill = self._table, self._library.fill
        places, head = self._library.places_of(byref(table)), -(-table.head // QUAD) * QUAD
        laid_out = [_lines(places * width) for width in (head, -(-table.dim // QUAD) * QUAD - head, 2)]
        heads, tails, rests = table.heads, table.tails, table.rests = [array.ctypes.data for array in laid_out]
        self._arrays += laid_out
        with ThreadPoolExecutor(threads) as pool:
            spans = range(self._library.spans_of(byref(table)))
            list(pool.map(lambda span: fill(byref(table), pieces.ctypes.data, span, heads, tails, rests), spans))

    @property
    def head(self) -> int:
        """How many dimensions are looked at first; all of them where there is no head."""
        return int(self._table.head)

    def search(self, vectors: NDArray[np.float32], wanted: Sequence[Wanted]) -> Found:
        """Answer each query as if it were alone: float32 [B, d], with what is asked by each.

        Raises MemoryError, and ValueError for what must not be read.
        """
        fit = vectors.dtype == np.float32 and vectors.shape == (len(wanted), self._table.dim)
        told: list[int] = []
        room = 0
        for k, excluded, mask in [(each.k, each.excluded, each.mask) for each in wanted]:
            fit = fit and k > 0
            room += k
            told += (k, len(excluded), _address(excluded) if len(excluded) else 0, _address(mask.bits) if mask else 0)
        if not fit:
            raise ValueError("a query has a float32 vector as wide as the items, and asks for one of them at least")
        asked, counts = array("q", told), array("q", [0]) * (COUNTS * len(wanted))
        rows, products = array("q", [0]) * room, array("f", [0]) * room  # tell where they are at a sixth of what NumPy's take
        asked_at, *into = [each.buffer_info()[0] for each in (asked, rows, products, counts)]
        if not self._library.search(byref(self._table), self._pool, _address(vectors), asked_at, len(wanted), *into):
            raise MemoryError("no memory for the search")
        return Found(np.frombuffer(rows, np.int64), np.frombuffer(products, np.float32), counts[::COUNTS], counts[1::COUNTS])


def _lines(count: int) -> NDArray[np.uint8]:
    """Zeros that start with a line of the cache: uint8 [count]."""
    room = np.zeros(count + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + count]


def _address(array: NDArray[np.generic]) -> int:
    """Where an array lies; raises ValueError for one with gaps, since the kernel would read what is in them."""
    found = array.__array_interface__
    if found["strides"] is not None:
        raise ValueError("the kernel reads no array with gaps")
    address: int = found["data"][0]
    return address
