"""Catalogues whose answers are certain to the last bit, and the oracle that knows them.

Tables and queries hold small whole numbers, so that float32 has every product exactly, in whatever order it is added up, and equals
are equal. What the kernel gets of them is their int8 copy, by the export's rules, in pieces of any size.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recoserve.bundle.contract import BLOCK
from recoserve.bundle.int8_index import Int8Index
from recoserve.search.mask import Mask
from recoserve.search.kernel.index import Index

LEVELS = 127
SMALLEST = 1e-30  # the least a step may be
NONE = np.empty(0, np.int64)
EXACT = 1 << 24  # whole numbers up to here are float32's


@dataclass(frozen=True)
class Made:
    """`items` float32 [N, d] and their int8 copy; `head` dimensions have most of the energy, `d` where all have as much."""

    items: np.ndarray
    copy: Int8Index
    head: int

    def catalogue(self, library, threads=2):
        return Index(library, self.items, self.copy, threads)


def whole_numbers(rng, count, dim, head, largest=3):
    """float32 [count, dim]; the head's are forty times as large."""
    table = rng.integers(-largest, largest + 1, (count, dim))
    if head < dim:
        table[:, :head] *= 40
    return table.astype(np.float32)


def heads(dim):
    """How many dimensions a head may have, if not all of them."""
    return min(max(dim // 16, 1) * 4, dim) if dim > 6 else dim


def rotation(rng, dim, head):
    """A random orthogonal matrix that leaves the head the head."""
    turn = np.zeros((dim, dim))
    for part in (slice(0, head), slice(head, dim)):
        size = len(range(*part.indices(dim)))
        turn[part, part] = np.linalg.qr(rng.standard_normal((size, size)))[0]
    return turn


def int8_copy(items, turn, sizes):
    """The copy that an export makes of `items`, turned by `turn` [d, d], in pieces of `sizes` items, zeros behind the last."""
    rows = np.zeros((sum(sizes), items.shape[1]))
    rows[: len(items)] = items
    turned = rows @ turn
    step = (np.abs(turned).reshape(-1, BLOCK * items.shape[1]).max(axis=1) / LEVELS).astype(np.float32)
    step = np.where(step > SMALLEST, step, np.float32(1))
    scale = np.repeat(step.astype(np.float64), BLOCK)[:, None]
    small = np.clip(np.round(turned / scale), -LEVELS, LEVELS)
    slack = 2 * (items.shape[1] + 16) * np.finfo(np.float32).eps
    error, norm = longest(turned - small * scale) + slack * longest(rows), longest(small * scale)
    pieces = np.split(small.astype(np.int8), np.cumsum(sizes)[:-1])
    whole = tuple(np.ascontiguousarray(piece.T) for piece in pieces)
    return Int8Index(
        whole, turn.astype(np.float32), step, *(np.nextafter(each.astype(np.float32), np.float32(np.inf)) for each in (error, norm))
    )


def longest(rows):
    return np.linalg.norm(rows, axis=1).reshape(-1, BLOCK).max(axis=1)


def made(items, sizes, head=None, turn=None):
    """A table in pieces, turned or as it is."""
    dim = items.shape[1]
    assert sum(sizes) - BLOCK < len(items) <= sum(sizes)
    return Made(items, int8_copy(items, np.eye(dim) if turn is None else turn, sizes), dim if head is None else head)


class Wish(NamedTuple):
    """A query with its vector."""

    vector: np.ndarray
    k: int
    excluded: np.ndarray
    mask: Mask | None


class Answer(NamedTuple):
    """Rows and products, best first; how many items were scored for them."""

    rows: np.ndarray
    products: np.ndarray
    scored: int


def best(products, wanted):
    """The answer, of a query's `products` float64 [N]: rows int64 and products float32."""
    allowed = np.ones(len(products), bool)
    allowed[wanted.excluded] = False
    if wanted.mask is not None:
        allowed &= np.unpackbits(wanted.mask.bits, bitorder="little")[: len(products)].astype(bool)
    rows = np.flatnonzero(allowed)
    rows = rows[np.argsort(-products[rows], kind="stable")[: wanted.k]]
    return rows, products[rows].astype(np.float32)


def assert_best(catalogue, items, wanted):
    """All queries in one call, and every answer that of the brute force: the rows, their order and the scores."""
    everything = np.stack([one.vector for one in wanted]).astype(np.float64) @ items.T.astype(np.float64)
    for one, products, found in zip(wanted, everything, search(catalogue, wanted), strict=True):
        rows, scores = best(products, one)
        np.testing.assert_array_equal(found.rows, rows)
        np.testing.assert_array_equal(found.products, scores)


def wish(vector, k=10, excluded=NONE, passing=None, items=0):
    """A query; `passing` rows of a catalogue of `items`, if not all of them."""
    mask = None if passing is None else Mask.of_rows(np.asarray(passing, np.int64), items)
    return Wish(vector, k, np.asarray(excluded, np.int64), mask)


def search(catalogue, wanted):
    """The answer to each query, asked together."""
    found = catalogue.search(np.stack([one.vector for one in wanted]), wanted)
    starts = np.cumsum([0, *(one.k for one in wanted)])
    places = [slice(start, start + count) for start, count in zip(starts, found.counts, strict=False)]
    return [Answer(found.rows[place], found.products[place], scored) for place, scored in zip(places, found.scored, strict=True)]


def mixture(rng, vectors, items):
    """A query by each of the vectors, no two kinds alike in what they exclude, let pass and want of the `items`."""
    count, found = len(items), []
    for vector, products in zip(vectors, vectors.astype(np.float64) @ items.T, strict=True):
        order = np.argsort(-products, kind="stable")
        some = rng.integers(0, count, rng.integers(1, count + 1))
        excluded = [NONE, NONE, np.unique(some[:20]), np.sort(order[:5]), np.sort(order[: count // 3]), np.sort(order[:-1])]
        passing = [None, None, None, some, some[:3], order[count // 2 :], np.arange(count - 1) // BLOCK * BLOCK, NONE]
        k = (1, 2, 10, 10, 60, count, count + 7)
        drawn = (each[rng.integers(len(each))] for each in (excluded, passing))
        found.append(wish(vector, k[rng.integers(len(k))], *drawn, items=count))
    return found
