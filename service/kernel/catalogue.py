"""A catalogue laid out for the kernel, and the threads that search it."""

import weakref
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref
from struct import Struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.bundle.head import head_of
from service.bundle.int8_copy import Int8Copy
from service.kernel.library import Library, Table

QUAD = 4
LINE = 64  # bytes, of a cache
FLOAT = 4  # bytes
GAPS = "the kernel reads no array with gaps"
QUERY = Struct("9q")  # `Query` of kernel.h: vector, excluded, mask, excluded_count, k, rows, products, found, scored
FIELDS, FOUND, SCORED = 9, 7, 8


class Wanted(NamedTuple):
    """One query: the `k` best without `excluded` (ascending rows); where there are `bits`, only those whose bit is set: item i
    is bit i % 8 of byte i // 8."""

    vector: NDArray[np.float32]
    k: int
    excluded: NDArray[np.int64]
    bits: NDArray[np.uint8] | None


class Found(NamedTuple):
    """`rows` int64 and `products` float32, best first, equals by row; how many items were `scored` for them."""

    rows: NDArray[np.int64]
    products: NDArray[np.float32]
    scored: int


class Catalogue:
    """The items, float32 [N, d] (usually a memory map), and their int8 copy in the order that the kernel multiplies.

    That order depends on the processor, so it is made here, in as much memory as the int8 copy has. `threads` search together.
    """

    def __init__(self, library: Library, items: NDArray[np.float32], copy: Int8Copy, threads: int) -> None:
        self._library = library
        self._table, self._arrays = self._described(items, copy)
        pieces = np.array([piece.ctypes.data for piece in copy.pieces], np.uint64)
        self._table.head = self._measured(pieces)
        self._lay_out(pieces, threads)
        self._pool = library.pool_open(threads)
        if not self._pool:
            raise MemoryError("no memory for the search's threads")
        weakref.finalize(self, library.pool_close, self._pool).atexit = False  # a daemon thread may be searching then

    def _described(self, items: NDArray[np.float32], copy: Int8Copy) -> tuple[Table, list[NDArray[Any]]]:
        """The kernel's view, and the arrays it points to: they have to stay as long as it does."""
        counts = np.array([piece.shape[1] for piece in copy.pieces], np.int64)
        arrays: list[NDArray[Any]] = [items, counts, *map(np.copy, (copy.rotation, copy.step, copy.error, copy.norm))]
        addresses = [array.ctypes.data for array in arrays]
        return Table(*addresses, None, None, None, len(items), len(counts), items.shape[1], items.shape[1]), arrays

    def _measured(self, pieces: NDArray[np.uint64]) -> int:
        """How many dimensions the head has, from what each dimension of the int8 copy holds."""
        energies = np.zeros(self._table.dim)
        self._library.measure(byref(self._table), pieces.ctypes.data, energies.ctypes.data)
        return head_of(energies)

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

    def search(self, wanted: Sequence[Wanted]) -> list[Found]:
        """Answer each query as if it were alone. Raises MemoryError, and ValueError for what must not be read."""
        room = sum([each.k for each in wanted])
        vectors, rows, products = _side_by_side(wanted), np.empty(room, np.int64), np.empty(room, np.float32)
        if vectors.size != len(wanted) * self._table.dim or min([each.k for each in wanted]) < 1:
            raise ValueError("a query has a vector as wide as the items, and asks for one of them at least")
        vector_at, row_at, product_at = _address(vectors), _address(rows), _address(products)
        told = []
        for _, k, excluded, bits in wanted:
            count, mask_at = len(excluded), 0 if bits is None else _address(bits)
            told.append(QUERY.pack(vector_at, _address(excluded) if count else 0, mask_at, count, k, row_at, product_at, 0, 0))
            vector_at += self._table.dim * vectors.itemsize
            row_at += k * rows.itemsize
            product_at += k * products.itemsize
        queries = array("q", b"".join(told))
        if not self._library.search(byref(self._table), self._pool, queries.buffer_info()[0], len(wanted)):
            raise MemoryError("no memory for the search")
        return list(_found(wanted, queries, rows, products))


def _found(
    wanted: Sequence[Wanted], queries: "array[int]", rows: NDArray[np.int64], products: NDArray[np.float32]
) -> Iterator[Found]:
    start = 0
    for each, count, scored in zip(wanted, queries[FOUND::FIELDS], queries[SCORED::FIELDS], strict=True):
        end = start + count
        yield Found(rows[start:end], products[start:end], scored)
        start += each.k


def _side_by_side(wanted: Sequence[Wanted]) -> NDArray[np.float32]:
    """All vectors in one array: to ask one for its address costs more than to copy it."""
    vectors = [each.vector for each in wanted]
    if {vector.strides for vector in vectors} != {(FLOAT,)}:
        raise ValueError(GAPS)
    return np.concatenate(vectors)


def _lines(count: int) -> NDArray[np.uint8]:
    """Zeros that start with a line of the cache: uint8 [count]."""
    room = np.zeros(count + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + count]


def _address(array: NDArray[np.generic]) -> int:
    """Where an array lies; raises ValueError for one with gaps, since the kernel would read what is in them."""
    found = array.__array_interface__
    if found["strides"] is not None:
        raise ValueError(GAPS)
    address: int = found["data"][0]
    return address
