"""Tables that are meant to fool a bound: it must hold however rows lie, and whatever may not be among the hits."""

import numpy as np
import pytest

from recoserve.bundle.contract import BLOCK
from tests.search.kernel.tables import assert_exact, item_table, random_rotation, search, vector_query, whole_numbers

ITEMS = 3 * 4096 + 64 + 5  # the last block holds five
SIZES = [4096, 8192, 96]
SCALES = [(-149, 0), (-100, -49), (-120, -29), (-49, -100), (-20, -129), (-30, 60), (60, -60), (60, 40), (0, 100), (-29, 120)]


def vectors_of(rng, dim=16, head=16):
    return whole_numbers(rng, 4, dim, head)


def test_padding_raises_no_threshold(library):
    """All products are negative; those of the zeros behind the last item are zero, and larger."""
    rng = np.random.default_rng(0)
    items = -np.abs(whole_numbers(rng, ITEMS, 16, 16)) - 1
    queries = [vector_query(np.abs(vector) + 1, k) for vector in vectors_of(rng) for k in (1, 5, 31, 40)]
    queries += [vector_query(query.vector, query.k, allowed=np.arange(ITEMS - 40, ITEMS), items=ITEMS) for query in queries]
    for threads in (1, 2):
        assert_exact(item_table(items, SIZES).index(library, threads), items, queries)


@pytest.mark.parametrize("last", [1, 5, 31, 32])
def test_the_last_block_may_hold_all_hits(library, last):
    """Its items are the best, the only ones in the mask, or the only ones that aren't excluded."""
    rng, count = np.random.default_rng(1), ITEMS - 5 + last - (BLOCK if last == BLOCK else 0)
    items = whole_numbers(rng, count, 16, 16)
    tail, sizes = np.arange((count - 1) // BLOCK * BLOCK, count), SIZES if count > ITEMS - 5 else [4096, 8192, 64]
    queries = []
    for vector in vectors_of(rng):
        queries += [vector_query(vector, k, allowed=tail, items=count) for k in (1, last, last + 1)]
        queries += [vector_query(vector, k, excluded=np.arange(tail[0])) for k in (1, last, last + 1)]
        queries += [vector_query(vector, 3, excluded=tail, allowed=tail, items=count)]
    assert_exact(item_table(items, sizes).index(library), items, queries)
    items[tail] += 50
    assert_exact(item_table(items, sizes).index(library), items, [vector_query(np.ones(16, np.float32), last + 1)])


@pytest.mark.parametrize("kinds", [1, 2, 3])
def test_equal_products_rank_by_row_however_many_there_are(library, kinds):
    """Thousands of equal items, in every block: the first k of them that are neither excluded nor outside the mask."""
    rng = np.random.default_rng(kinds)
    items = whole_numbers(rng, kinds, 16, 16)[rng.integers(0, kinds, ITEMS)]
    queries = []
    for vector in vectors_of(rng):
        some = np.unique(rng.integers(0, ITEMS, 3000))
        queries += [vector_query(vector, 40), vector_query(vector, 40, some), vector_query(vector, 40, allowed=some, items=ITEMS)]
    assert_exact(item_table(items, SIZES, rotation=random_rotation(rng, 16, 16)).index(library), items, queries)


def test_a_query_of_zeros_has_the_first_allowed_rows_and_rescores_nothing(library):
    """All bounds are equal: without a path of its own, it would rescore every item."""
    rng = np.random.default_rng(2)
    items, zero = whole_numbers(rng, ITEMS, 16, 4), np.zeros(16, np.float32)
    queries = [vector_query(zero, 10), vector_query(-zero, 10, np.arange(0, 9000, 2))]
    queries.append(vector_query(zero, 10, allowed=np.arange(5000, 9000), items=ITEMS))
    index = item_table(items, SIZES, 4).index(library)
    assert_exact(index, items, [*queries, *(vector_query(vector) for vector in vectors_of(rng))])
    assert [hits.rescored for hits in search(index, queries)] == [0, 0, 0]


def test_a_query_that_allows_no_item_has_no_hits(library):
    """Everything is excluded; the mask is empty; what is in the mask is excluded."""
    rng, all_rows = np.random.default_rng(3), np.arange(ITEMS)
    items = whole_numbers(rng, ITEMS, 16, 16)
    for vector in vectors_of(rng):
        queries = [vector_query(vector, 10, all_rows), vector_query(vector, 10, allowed=[], items=ITEMS)]
        queries.append(vector_query(vector, 10, all_rows[:9000], allowed=all_rows[:9000], items=ITEMS))
        assert [len(hits.rows) for hits in search(item_table(items, SIZES).index(library), queries)] == [0, 0, 0]


def test_the_best_item_of_each_block_may_be_excluded(library):
    """A block's maximum, and with it its upper and lower bound, is then that of an item which may not be a hit."""
    rng = np.random.default_rng(4)
    items = whole_numbers(rng, ITEMS, 16, 4)
    best_rows = np.arange(3, ITEMS, BLOCK)
    items[best_rows, :4] += 100
    vector = np.zeros(16, np.float32)
    vector[:4] = 3
    queries = [
        vector_query(vector, k, best_rows[: len(best_rows) - allowed_best])
        for k in (1, 10, 300)
        for allowed_best in (0, 1, 10, 200)
    ]
    queries += [vector_query(vector, k, allowed=np.setdiff1d(np.arange(ITEMS), best_rows), items=ITEMS) for k in (1, 10, 300)]
    for threads in (1, 2, 3):
        assert_exact(item_table(items, SIZES, 4).index(library, threads), items, queries)


@pytest.mark.parametrize("forbidden_blocks", [[0], [2], [0, 2]])
def test_a_block_without_an_allowed_item_raises_no_threshold(library, forbidden_blocks):
    """Its items are far better than the second hit, which stands in a block far behind, as the first does beside worse items."""
    items = np.full((ITEMS, 16), -1000, np.float32)
    forbidden = np.concatenate([np.arange(BLOCK) + BLOCK * block for block in forbidden_blocks])
    items[forbidden] = -(2.0**-30)
    items[40], items[ITEMS - 50 :] = -100, -200
    vector = np.ones(16, np.float32)
    queries = [vector_query(vector, 2, forbidden)]
    queries.append(vector_query(vector, 2, allowed=np.setdiff1d(np.arange(ITEMS), forbidden), items=ITEMS))
    for threads in (1, 2):
        assert_exact(item_table(items, SIZES).index(library, threads), items, queries)


@pytest.mark.parametrize("dim", [1024, 1023])
@pytest.mark.parametrize("signs", ["all", "none", "random"])
def test_no_sum_overflows(library, dim, signs):
    """The largest sums there are: every number of items and queries at the end of int8, 1,024 products of 127 by 127."""
    rng, sizes = np.random.default_rng(5), [96, 160, 64]
    negative = {"all": 1.0, "none": 0.0, "random": 0.5}[signs]
    items, vectors = (np.where(rng.random((count, dim)) < negative, -127, 127).astype(np.float32) for count in (300, 8))
    vectors[:2] = [[127], [-127]]
    index = item_table(items, sizes).index(library)
    assert_exact(index, items, [vector_query(vector, k) for vector in vectors for k in (1, 10, 300)])


def test_no_residual_norm_overflows(library):
    """The largest there are: all of 1,024 dimensions at the end of int8, or as near to it as a head of six tenths lets them be."""
    rng, head, sizes = np.random.default_rng(6), 612, [64] * 12
    items, vectors = (rng.choice([-1, 1], (count, 1024)).astype(np.float32) for count in (sum(sizes) - 3, 8))
    items *= np.where(np.arange(1024) < head, 127, 86)
    vectors *= np.where(np.arange(1024) < head, 1, 127)
    index = item_table(items, sizes, head).index(library, 1)
    assert index.leading_dimensions < 1024
    assert_exact(index, items, [vector_query(vector, k) for vector in vectors for k in (1, 10)])


@pytest.mark.parametrize("rotated_head", [16, 64])
def test_a_tail_that_decides_is_multiplied(library, rotated_head):
    """Queries with nothing in the head, and items with nothing in it."""
    rng = np.random.default_rng(7)
    items = whole_numbers(rng, ITEMS, 64, 16)
    items[rng.integers(0, ITEMS, 300), :16] = 0
    vectors = whole_numbers(rng, 6, 64, 64)
    vectors[:3, :16] = 0
    table = item_table(items, SIZES, 16, random_rotation(rng, 64, rotated_head))
    for threads in (1, 2):
        assert_exact(table.index(library, threads), items, [vector_query(vector, k) for vector in vectors for k in (1, 30)])


@pytest.mark.parametrize(("query_exponent", "item_exponent"), SCALES)
def test_a_power_of_two_scales_products_and_changes_no_ranking(library, query_exponent, item_exponent):
    """Down to the smallest numbers that float32 has, and up to the largest products."""
    rng = np.random.default_rng(8)
    items, vectors = whole_numbers(rng, ITEMS, 16, 16), vectors_of(rng)
    items, vectors = np.ldexp(items, item_exponent).astype(np.float32), np.ldexp(vectors, query_exponent).astype(np.float32)
    index = item_table(items, SIZES, rotation=random_rotation(rng, 16, 16)).index(library)
    queries = [vector_query(vector, k, np.arange(0, end)) for vector in vectors for k in (1, 20) for end in (0, 9000)]
    assert_exact(index, items, queries)


@pytest.mark.parametrize("large", [1, 30, 3000])
def test_large_rows_make_no_block_but_their_own_inexact(library, large):
    """Beside a row a million times as long, others round to nothing in int8."""
    rng = np.random.default_rng(9)
    items = whole_numbers(rng, ITEMS, 16, 16)
    items[rng.integers(0, ITEMS, large)] *= 2.0**20
    vectors = [*np.eye(16, dtype=np.float32)[:3], np.ones(16, np.float32)]
    queries = [vector_query(vector, k) for vector in vectors for k in (1, 50)]
    large_rows = np.flatnonzero(np.abs(items).max(axis=1) > 1e5)
    queries += [vector_query(query.vector, query.k, large_rows) for query in queries]
    assert_exact(item_table(items, SIZES, rotation=random_rotation(rng, 16, 16)).index(library), items, queries)
