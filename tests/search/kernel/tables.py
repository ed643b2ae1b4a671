"""Tables whose products are certain to the last bit, queries of every kind, and the brute force that knows the hits.

Tables and queries hold small whole numbers, so that float32 has every product exactly, in whatever order it is added up, and equal
products are equal. The int8 index is made by the export's rules, in pieces of any size.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recoserve.bundle.contract import BLOCK
from recoserve.bundle.int8_index import Int8Index
from recoserve.search.kernel.index import Index
from recoserve.search.mask import Mask

LEVELS = 127
SMALLEST_STEP = 1e-30
NO_ROWS = np.empty(0, np.int64)
EXACT = 1 << 24  # float32 has every whole number up to here


@dataclass(frozen=True)
class ItemTable:
    """`items` float32 [N, d] and their int8 index; `head` dimensions have most of the energy, `d` where all have as much."""

    items: np.ndarray
    int8_index: Int8Index
    head: int

    def index(self, library, threads=2):
        return Index(library, self.items, self.int8_index, threads)


def whole_numbers(rng, count, dim, head, largest=3):
    """float32 [count, dim]; the head's are forty times as large."""
    table = rng.integers(-largest, largest + 1, (count, dim))
    if head < dim:
        table[:, :head] *= 40
    return table.astype(np.float32)


def head_for(dim):
    """How many dimensions a head may have; all of them in a table too narrow for one."""
    return min(max(dim // 16, 1) * 4, dim) if dim > 6 else dim


def random_rotation(rng, dim, head):
    """A random orthogonal matrix that leaves the head the head."""
    matrix = np.zeros((dim, dim))
    for dimensions in (slice(0, head), slice(head, dim)):
        size = len(range(*dimensions.indices(dim)))
        matrix[dimensions, dimensions] = np.linalg.qr(rng.standard_normal((size, size)))[0]
    return matrix


def int8_index_of(items, rotation, sizes):
    """The int8 index that an export makes of `items`, rotated, in pieces of `sizes` items, zeros behind the last."""
    rows = np.zeros((sum(sizes), items.shape[1]))
    rows[: len(items)] = items
    rotated = rows @ rotation
    step = (np.abs(rotated).reshape(-1, BLOCK * items.shape[1]).max(axis=1) / LEVELS).astype(np.float32)
    step = np.where(step > SMALLEST_STEP, step, np.float32(1))
    scale = np.repeat(step.astype(np.float64), BLOCK)[:, None]
    rounded = np.clip(np.round(rotated / scale), -LEVELS, LEVELS)
    slack = 2 * (items.shape[1] + 16) * np.finfo(np.float32).eps
    error, norm = longest(rotated - rounded * scale) + slack * longest(rows), longest(rounded * scale)
    pieces = tuple(np.ascontiguousarray(piece.T) for piece in np.split(rounded.astype(np.int8), np.cumsum(sizes)[:-1]))
    return Int8Index(pieces, rotation.astype(np.float32), step, rounded_up(error), rounded_up(norm))


def longest(rows):
    """The largest norm of each block's rows."""
    return np.linalg.norm(rows, axis=1).reshape(-1, BLOCK).max(axis=1)


def rounded_up(values):
    return np.nextafter(values.astype(np.float32), np.float32(np.inf))


def item_table(items, sizes, head=None, rotation=None):
    """A table with its int8 index in pieces of `sizes` items, rotated or as it is."""
    dim = items.shape[1]
    assert sum(sizes) - BLOCK < len(items) <= sum(sizes)
    return ItemTable(
        items, int8_index_of(items, np.eye(dim) if rotation is None else rotation, sizes), dim if head is None else head
    )


class VectorQuery(NamedTuple):
    """A query with its vector."""

    vector: np.ndarray
    k: int
    excluded: np.ndarray
    mask: Mask | None


class Hits(NamedTuple):
    """Rows and products of one query, best first; how many items were rescored for them."""

    rows: np.ndarray
    products: np.ndarray
    rescored: int


def brute_force(products, query):
    """The rows int64 and products float32 of the hits, from a query's `products` float64 [N]."""
    allowed = np.ones(len(products), bool)
    allowed[query.excluded] = False
    if query.mask is not None:
        allowed &= np.unpackbits(query.mask.bits, bitorder="little")[: len(products)].astype(bool)
    rows = np.flatnonzero(allowed)
    rows = rows[np.argsort(-products[rows], kind="stable")[: query.k]]
    return rows, products[rows].astype(np.float32)


def assert_exact(index, items, queries):
    """Search for all queries in one call: the hits of each are those of the brute force, in its order and with its products."""
    all_products = np.stack([query.vector for query in queries]).astype(np.float64) @ items.T.astype(np.float64)
    for query, products, hits in zip(queries, all_products, search(index, queries), strict=True):
        expected_rows, expected_products = brute_force(products, query)
        np.testing.assert_array_equal(hits.rows, expected_rows)
        np.testing.assert_array_equal(hits.products, expected_products)


def vector_query(vector, k=10, excluded=NO_ROWS, allowed=None, items=0):
    """A query; `allowed` rows of an index of `items`, if not all of them."""
    mask = None if allowed is None else Mask.of_rows(np.asarray(allowed, np.int64), items)
    return VectorQuery(vector, k, np.asarray(excluded, np.int64), mask)


def search(index, queries):
    """The hits of each query, searched for in one call."""
    hits = index.search(np.stack([query.vector for query in queries]), queries)
    starts = np.cumsum([0, *(query.k for query in queries)])
    slices = [slice(start, start + count) for start, count in zip(starts, hits.counts, strict=False)]
    return [Hits(hits.rows[rows], hits.products[rows], count) for rows, count in zip(slices, hits.rescored, strict=True)]


def mixed_queries(rng, vectors, items):
    """A query by each of the vectors, of random kinds: what it excludes of the `items`, which it allows, and its k."""
    count, queries = len(items), []
    for vector, products in zip(vectors, vectors.astype(np.float64) @ items.T, strict=True):
        order = np.argsort(-products, kind="stable")
        some = rng.integers(0, count, rng.integers(1, count + 1))
        exclusions = [NO_ROWS, NO_ROWS, np.unique(some[:20]), np.sort(order[:5]), np.sort(order[: count // 3]), np.sort(order[:-1])]
        block_starts = np.arange(count - 1) // BLOCK * BLOCK
        masks = [None, None, None, some, some[:3], order[count // 2 :], block_starts, NO_ROWS]
        k = (1, 2, 10, 10, 60, count, count + 7)
        excluded, allowed = (choices[rng.integers(len(choices))] for choices in (exclusions, masks))
        queries.append(vector_query(vector, k[rng.integers(len(k))], excluded, allowed, items=count))
    return queries
