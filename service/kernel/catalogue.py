"""A catalogue laid out for the kernel, and the threads that search it."""

import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.bundle.head import head_of
from service.bundle.int8_copy import Int8Copy
from service.kernel.library import Library, Table

QUAD = 4
LINE = 64  # bytes, of a cache
QUERY = np.dtype(
    [
        *((name, np.uint64) for name in ("vector", "excluded", "mask")),
        *((name, np.int64) for name in ("excluded_count", "k")),
        *((name, np.uint64) for name in ("rows", "products")),
        *((name, np.int64) for name in ("found", "scored")),
    ]
)


class Wanted(NamedTuple):
    """One query: the `k` best without `excluded` (ascending rows); where there are `bits`, only those whose bit is set: item i
    is bit i % 8 of byte i // 8."""

    vector: NDArray[np.float32]
    k: int
    excluded: NDArray[np.int64]
    bits: NDArray[np.uint8] | None


class Found(NamedTuple):
    """`rows` int64 and `products` float32, best first, equals by row; how many blocks were `scored` for them."""

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
        """Answer each query as if it were alone, in the order asked. Raises MemoryError."""
        ends = np.cumsum([each.k for each in wanted])
        rows, products = np.empty(ends[-1], np.int64), np.empty(ends[-1], np.float32)
        queries = np.zeros(len(wanted), QUERY)
        queries["k"] = ends - np.concatenate(([0], ends[:-1]))
        starts = (ends - queries["k"]).astype(np.uint64)
        queries["rows"] = _address(rows) + starts * np.uint64(rows.itemsize)
        queries["products"] = _address(products) + starts * np.uint64(products.itemsize)
        queries["vector"] = [_address(each.vector) for each in wanted]
        queries["excluded"] = [_address(each.excluded) for each in wanted]
        queries["excluded_count"] = [len(each.excluded) for each in wanted]
        queries["mask"] = [0 if each.bits is None else _address(each.bits) for each in wanted]
        if not self._library.search(byref(self._table), self._pool, queries.ctypes.data, len(queries)):
            raise MemoryError("no memory for the search")
        return list(_found(queries, starts.tolist(), rows, products))


def _found(queries: NDArray[np.void], starts: list[int], rows: NDArray[np.int64], products: NDArray[np.float32]) -> Iterator[Found]:
    for start, count, scored in zip(starts, queries["found"].tolist(), queries["scored"].tolist(), strict=True):
        yield Found(rows[start : start + count], products[start : start + count], scored)


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
