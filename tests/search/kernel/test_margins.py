"""Tables for which a single term of a bound decides: if that term were any smaller, the best item would be lost.

A thread first scans items with a high product, or one that seems high, and last of all, where heads are multiplied first, the one
item that is better and seems worse, by exactly what the term has to make up for.
"""

from typing import NamedTuple

import numpy as np
import pytest

from recoserve.bundle.contract import BLOCK
from tests.search.kernel.tables import item_table, search, vector_query

DIM, HEAD, SIZES = 20, 8, [64] * 12
BEST_ROW = sum(SIZES) - BLOCK + 1  # the second of the last block
ZEROS = np.zeros(DIM, np.float32)
PEAK = 127.0  # an item with it in its block makes the block's step 1


class Scene(NamedTuple):
    """A query, the best item and the one that is scanned first; what stands in the block beside the best, and beside the first."""

    query: np.ndarray
    best: np.ndarray
    first: np.ndarray
    beside_best: np.ndarray
    beside_first: np.ndarray


@pytest.fixture
def levels(library):
    """A query's largest number, if its unit is to be 1."""
    return {"avx512vnni": 127.0, "avx2": 63.0}[library.name]


def vector_of(first, tail=0.0, head=0.0):
    """A vector: its first number, the others of the head, and those of the tail."""
    return np.array([first] + [head] * (HEAD - 1) + [tail] * (DIM - HEAD), np.float32)


def query_error_of_the_best(levels):
    """The query rounds to zero wherever the best item has anything."""
    query, best = vector_of(levels, 0.49, 0.49), vector_of(0, PEAK, PEAK)
    return Scene(query, best, vector_of(best @ query / levels / 1.02), ZEROS, ZEROS)


def item_error_of_the_best(levels):
    """The best item rounds to zero beside a large one."""
    query, best = vector_of(levels, levels, levels), vector_of(0, 0.49, 0.49)
    return Scene(query, best, vector_of(best @ query / levels / 1.02), vector_of(-PEAK), ZEROS)


def residual_norm(levels):
    """All of the best item is in the tail, along the query; twelve ones are 3.46 long, and have to count as 4."""
    return Scene(vector_of(levels, levels), vector_of(0, 1), vector_of(11.5), vector_of(-PEAK), ZEROS)


def first_dimension_of_the_tail(levels):
    """The residual norm counts it: all of the best item is one number along the query, to a hundredth what is needed."""
    return in_one_dimension(HEAD, levels)


def last_dimension_of_the_tail(levels):
    return in_one_dimension(DIM - 1, levels)


def in_one_dimension(dimension, levels):
    query, best = np.zeros((2, DIM), np.float32)
    query[[0, dimension]], best[dimension] = levels, 100
    return Scene(query, best, vector_of(99), vector_of(-PEAK), ZEROS)


def query_error_of_the_first(levels):
    """The query rounds from 0.51 to 1 wherever the first item has anything, whose product seems twice as high as it is."""
    return Scene(vector_of(levels, 0.51, 0.51), vector_of(10 * PEAK / levels), vector_of(0, PEAK, PEAK), ZEROS, ZEROS)


def item_error_of_the_first(levels):
    """The first item rounds from 0.51 to 1, beside a large one."""
    return Scene(vector_of(levels, levels, levels), vector_of(12), vector_of(0.51, 0.51, 0.51), ZEROS, vector_of(-PEAK))


TERMS = [
    query_error_of_the_best,
    item_error_of_the_best,
    residual_norm,
    first_dimension_of_the_tail,
    last_dimension_of_the_tail,
    query_error_of_the_first,
    item_error_of_the_first,
]


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.__name__)
@pytest.mark.parametrize("beside", ["nothing", "an excluded one", "a masked one", "padding"])
def test_the_best_item_is_a_hit_however_low_its_rounded_product(library, levels, term, beside):
    """By itself in its block, beside a better one that may not be a hit, and in the index's last block."""
    scene = term(levels)
    items = np.tile(vector_of(-PEAK), (sum(SIZES), 1))
    items[:BLOCK] = items[-BLOCK:] = ZEROS
    items[:2], items[BEST_ROW - 1 : BEST_ROW + 1] = (scene.first, scene.beside_first), (scene.beside_best, scene.best)
    if beside.endswith("one"):
        items[BEST_ROW + 1] = scene.best + vector_of(1)
    items = items[: BEST_ROW + 3] if beside == "padding" else items
    excluded = [BEST_ROW + 1] if beside == "an excluded one" else []
    allowed = np.delete(np.arange(len(items)), BEST_ROW + 1) if beside == "a masked one" else None
    index = item_table(items, SIZES, HEAD).index(library, 1)
    assert (index.leading_dimensions, int(np.argmax(np.delete(items @ scene.query, BEST_ROW + 1)))) == (HEAD, BEST_ROW)

    (hits,) = search(index, [vector_query(scene.query, 1, excluded, allowed, len(items))])
    assert hits.rows.tolist() == [BEST_ROW]
