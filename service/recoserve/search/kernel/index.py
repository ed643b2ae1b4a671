"""An index laid out for the kernel, and the threads that search it."""

import weakref
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.bundle.int8_index import Int8Index
from recoserve.bundle.leading_dimensions import count_leading_dimensions
from recoserve.search.kernel.library import COUNTS_FIELDS, IndexStruct, KernelLibrary, LayoutStruct


class BitMask(Protocol):
    """Which items may be among the hits: item i is bit i % 8 of byte i // 8, in whole blocks of items."""

    @property
    def bits(self) -> NDArray[np.uint8]: ...


class IndexQuery(Protocol):
    """What the index reads of a query: the `k` best without the `excluded` rows (ascending), within the `mask`."""

    @property
    def k(self) -> int: ...
    @property
    def excluded(self) -> Rows: ...
    @property
    def mask(self) -> BitMask | None: ...


class SearchHits(NamedTuple):
    """The hits of several queries, one query behind the other, each with room for its k; best first, equal products by row.

    `rows` int64 and `products` float32: [sum of all k]. Query i has `counts[i]` hits, for which `rescored[i]` items were rescored;
    what stands behind a query's last hit has no meaning.
    """

    rows: Rows
    products: Float32Array
    counts: Sequence[int]
    rescored: Sequence[int]


class Index:
    """The items, float32 [N, d] (usually a memory map), and the int8 index in the order that the kernel multiplies.

    That order depends on the processor, so it is made here and not at export, in as much memory as the int8 index has.
    A search uses `threads` threads, the calling one included. Raises MemoryError.
    """

    def __init__(self, library: KernelLibrary, items: Float32Array, int8_index: Int8Index, threads: int) -> None:
        self._library = library
        self._struct, self._arrays = self._described(items, int8_index)
        pieces = np.array([piece.ctypes.data for piece in int8_index.pieces], np.uint64)
        self._struct.head_dim = self._count_leading_dimensions(pieces)
        self._lay_out(pieces, threads)
        self._pool = library.pool_open(threads)
        if not self._pool:
            raise MemoryError("no memory for the search's threads")
        # Not at the interpreter's exit: a daemon thread may still be searching then, and the pool must not be freed under it.
        weakref.finalize(self, library.pool_close, self._pool).atexit = False

    def _described(self, items: Float32Array, int8_index: Int8Index) -> tuple[IndexStruct, list[NDArray[Any]]]:
        """The structure that the kernel reads, and the arrays whose addresses it holds, which have to live as long."""
        piece_items = np.array([piece.shape[1] for piece in int8_index.pieces], np.int64)
        per_block = map(np.copy, (int8_index.rotation, int8_index.step, int8_index.error, int8_index.norm))
        arrays: list[NDArray[Any]] = [items, piece_items, *per_block]
        addresses = [array.ctypes.data for array in arrays]
        count, dim = items.shape
        return IndexStruct(*addresses, None, None, None, count, len(piece_items), dim, dim), arrays

    def _count_leading_dimensions(self, pieces: NDArray[np.uint64]) -> int:
        energies = np.zeros(self._struct.dim)
        self._library.add_energies(byref(self._struct), pieces.ctypes.data, energies.ctypes.data)
        return count_leading_dimensions(energies)

    def _lay_out(self, pieces: NDArray[np.uint64], threads: int) -> None:
        """Copy the pieces into the kernel's order; they are not needed afterwards."""
        struct, sizes, fill_span = self._struct, LayoutStruct(), self._library.fill_span
        self._library.layout_bytes(byref(struct), byref(sizes))
        arrays = [_aligned_zeros(size, self._library.alignment) for size in (sizes.heads, sizes.tails, sizes.residual_norms)]
        addresses = struct.heads, struct.tails, struct.residual_norms = [array.ctypes.data for array in arrays]
        self._arrays += arrays
        with ThreadPoolExecutor(threads) as pool:
            spans = range(self._library.span_count(byref(struct)))
            list(pool.map(lambda span: fill_span(byref(struct), pieces.ctypes.data, span, *addresses), spans))

    @property
    def leading_dimensions(self) -> int:
        """How many dimensions are multiplied before the others; all where none stand out."""
        return int(self._struct.head_dim)

    def search(self, vectors: Float32Array, queries: Sequence[IndexQuery]) -> SearchHits:
        """The hits of each query, which are the same bits whatever the other queries; `vectors` float32 [B, d] for B queries.

        May be called by several threads at once. Raises MemoryError, and ValueError for arrays that the kernel must not read.
        """
        fits = vectors.dtype == np.float32 and vectors.shape == (len(queries), self._struct.dim)
        fields: list[int] = []
        room = 0
        for query in queries:
            k, excluded, mask = query.k, query.excluded, query.mask
            fits = fits and k > 0
            room += k
            fields += (k, len(excluded), _address(excluded) if len(excluded) else 0, _address(mask.bits) if mask else 0)
        if not fits:
            raise ValueError(f"queries have float32 vectors as wide as the items, {self._struct.dim}, and a k of 1 or more")
        # array.array, since NumPy takes six times as long to tell an array's address.
        query_fields, counts = array("q", fields), array("q", [0]) * (COUNTS_FIELDS * len(queries))
        rows, products = array("q", [0]) * room, array("f", [0]) * room
        fields_at, *output_at = [buffer.buffer_info()[0] for buffer in (query_fields, rows, products, counts)]
        if not self._library.search(byref(self._struct), self._pool, _address(vectors), fields_at, len(queries), *output_at):
            raise MemoryError("no memory for the search")
        hits, rescored = counts[::COUNTS_FIELDS], counts[1::COUNTS_FIELDS]
        return SearchHits(np.frombuffer(rows, np.int64), np.frombuffer(products, np.float32), hits, rescored)


def _aligned_zeros(count: int, alignment: int) -> NDArray[np.uint8]:
    """uint8 [count], at an address that is a multiple of `alignment`."""
    padded = np.zeros(count + alignment, np.uint8)
    start = -padded.ctypes.data % alignment
    return padded[start : start + count]


def _address(array: NDArray[np.generic]) -> int:
    """Where an array begins; raises ValueError for one that isn't contiguous, since the kernel would read what lies in its gaps."""
    interface = array.__array_interface__
    if interface["strides"] is not None:
        raise ValueError("the kernel reads contiguous arrays only: copy the array first")
    address: int = interface["data"][0]
    return address
