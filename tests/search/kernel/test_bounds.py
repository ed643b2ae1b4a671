"""Tables that are meant to fool a bound: it must hold however rows lie, and whatever may not be in an answer."""

import numpy as np
import pytest

from recoserve.bundle.contract import BLOCK
from tests.search.kernel.tables import assert_best, made, rotation, search, whole_numbers, wish

ITEMS = 3 * 4096 + 64 + 5  # the last block holds five
SIZES = [4096, 8192, 96]
SCALES = [(-149, 0), (-100, -49), (-120, -29), (-49, -100), (-20, -129), (-30, 60), (60, -60), (60, 40), (0, 100), (-29, 120)]


def vectors_of(rng, dim=16, head=16):
    return whole_numbers(rng, 4, dim, head)


def test_zeros_behind_the_last_item_count_for_nothing(library):
    """All products are negative; the padding's are zero, and none of them may tell what is reached."""
    rng = np.random.default_rng(0)
    items = -np.abs(whole_numbers(rng, ITEMS, 16, 16)) - 1
    wanted = [wish(np.abs(vector) + 1, k) for vector in vectors_of(rng) for k in (1, 5, 31, 40)]
    wanted += [wish(one.vector, one.k, passing=np.arange(ITEMS - 40, ITEMS), items=ITEMS) for one in wanted]
    for threads in (1, 2):
        assert_best(made(items, SIZES).catalogue(library, threads), items, wanted)


@pytest.mark.parametrize("last", [1, 5, 31, 32])
def test_the_last_block_may_hold_all_that_is_wanted(library, last):
    """Whether its items are the best, the only ones that pass, or the only ones left."""
    rng, count = np.random.default_rng(1), ITEMS - 5 + last - (BLOCK if last == BLOCK else 0)
    items = whole_numbers(rng, count, 16, 16)
    tail, sizes = np.arange((count - 1) // BLOCK * BLOCK, count), SIZES if count > ITEMS - 5 else [4096, 8192, 64]
    wanted = []
    for vector in vectors_of(rng):
        wanted += [wish(vector, k, passing=tail, items=count) for k in (1, last, last + 1)]
        wanted += [wish(vector, k, excluded=np.arange(tail[0])) for k in (1, last, last + 1)]
        wanted += [wish(vector, 3, excluded=tail, passing=tail, items=count)]
    assert_best(made(items, sizes).catalogue(library), items, wanted)
    items[tail] += 50
    assert_best(made(items, sizes).catalogue(library), items, [wish(np.ones(16, np.float32), last + 1)])


@pytest.mark.parametrize("kinds", [1, 2, 3])
def test_equals_come_by_row_however_many_there_are(library, kinds):
    """Thousands of equal items, in every block: the first k of them, without those that are excluded or don't pass."""
    rng = np.random.default_rng(kinds)
    items = whole_numbers(rng, kinds, 16, 16)[rng.integers(0, kinds, ITEMS)]
    wanted = []
    for vector in vectors_of(rng):
        some = np.unique(rng.integers(0, ITEMS, 3000))
        wanted += [wish(vector, 40), wish(vector, 40, some), wish(vector, 40, passing=some, items=ITEMS)]
    assert_best(made(items, SIZES, turn=rotation(rng, 16, 16)).catalogue(library), items, wanted)


def test_a_query_of_zeros_has_the_first_rows_that_may_be_in_its_answer(library):
    rng = np.random.default_rng(2)
    items, zero = whole_numbers(rng, ITEMS, 16, 4), np.zeros(16, np.float32)
    wanted = [wish(zero, 10), wish(-zero, 10, np.arange(0, 9000, 2)), wish(zero, 10, passing=np.arange(5000, 9000), items=ITEMS)]
    catalogue = made(items, SIZES, 4).catalogue(library)
    assert_best(catalogue, items, [*wanted, *(wish(vector) for vector in vectors_of(rng))])
    assert [found.scored for found in search(catalogue, wanted)] == [0, 0, 0]  # or all of the catalogue, whose bounds are equal


def test_an_empty_answer_is_one(library):
    """Everything excluded; nothing passes; what passes is excluded."""
    rng, everything = np.random.default_rng(3), np.arange(ITEMS)
    items = whole_numbers(rng, ITEMS, 16, 16)
    for vector in vectors_of(rng):
        wanted = [wish(vector, 10, everything), wish(vector, 10, passing=[], items=ITEMS)]
        wanted.append(wish(vector, 10, everything[:9000], passing=everything[:9000], items=ITEMS))
        assert [len(found.rows) for found in search(made(items, SIZES).catalogue(library), wanted)] == [0, 0, 0]


def test_one_best_item_in_each_block_may_be_excluded(library):
    """A block's bound and what it is said to reach at least are those of an item that may not be in the answer."""
    rng = np.random.default_rng(4)
    items = whole_numbers(rng, ITEMS, 16, 4)
    stars = np.arange(3, ITEMS, BLOCK)
    items[stars, :4] += 100
    up = np.zeros(16, np.float32)
    up[:4] = 3
    wanted = [wish(up, k, stars[: len(stars) - left]) for k in (1, 10, 300) for left in (0, 1, 10, 200)]
    wanted += [wish(up, k, passing=np.setdiff1d(np.arange(ITEMS), stars), items=ITEMS) for k in (1, 10, 300)]
    for threads in (1, 2, 3):
        assert_best(made(items, SIZES, 4).catalogue(library, threads), items, wanted)


@pytest.mark.parametrize("none_of", [[0], [2], [0, 2]])
def test_a_block_of_which_nothing_is_allowed_says_nothing_of_what_is_reached(library, none_of):
    """Though its items are next to nothing beside the second best, in a block far behind, and the best one's mates are worse."""
    items, few = np.full((ITEMS, 16), -1000, np.float32), np.concatenate([np.arange(BLOCK) + BLOCK * block for block in none_of])
    items[few] = -(2.0**-30)
    items[40], items[ITEMS - 50 :] = -100, -200
    up = np.ones(16, np.float32)
    wanted = [wish(up, 2, few), wish(up, 2, passing=np.setdiff1d(np.arange(ITEMS), few), items=ITEMS)]
    for threads in (1, 2):
        assert_best(made(items, SIZES).catalogue(library, threads), items, wanted)


@pytest.mark.parametrize("dim", [1024, 1023])
@pytest.mark.parametrize("signs", ["all", "none", "random"])
def test_sums_may_be_as_large_as_they_get(library, dim, signs):
    """Every number of the copy, and of the query, at its end: 1,024 products of 127 by 127."""
    rng, counts = np.random.default_rng(5), [96, 160, 64]
    negative = {"all": 1.0, "none": 0.0, "random": 0.5}[signs]
    items, vectors = (np.where(rng.random((count, dim)) < negative, -127, 127).astype(np.float32) for count in (300, 8))
    vectors[:2] = [[127], [-127]]
    catalogue = made(items, counts).catalogue(library)
    assert_best(catalogue, items, [wish(vector, k) for vector in vectors for k in (1, 10, 300)])


def test_lengths_beyond_the_head_may_be_as_large_as_they_get(library):
    """Six tenths of 1,024 dimensions at the end of int8, and all others as near to it as a head lets them be."""
    rng, head, sizes = np.random.default_rng(6), 612, [64] * 12
    items, vectors = (rng.choice([-1, 1], (count, 1024)).astype(np.float32) for count in (sum(sizes) - 3, 8))
    items *= np.where(np.arange(1024) < head, 127, 86)
    vectors *= np.where(np.arange(1024) < head, 1, 127)
    catalogue = made(items, sizes, head).catalogue(library, 1)
    assert catalogue.head < 1024
    assert_best(catalogue, items, [wish(vector, k) for vector in vectors for k in (1, 10)])


@pytest.mark.parametrize("head", [16, 64])
def test_what_the_head_hides_is_not_forgotten(library, head):
    """Queries that ask for nothing of the head, and items that have nothing in it."""
    rng = np.random.default_rng(7)
    items = whole_numbers(rng, ITEMS, 64, 16)
    items[rng.integers(0, ITEMS, 300), :16] = 0
    vectors = whole_numbers(rng, 6, 64, 64)
    vectors[:3, :16] = 0
    table = made(items, SIZES, 16, rotation(rng, 64, head))
    for threads in (1, 2):
        assert_best(table.catalogue(library, threads), items, [wish(vector, k) for vector in vectors for k in (1, 30)])


@pytest.mark.parametrize(("of_query", "of_items"), SCALES)
def test_a_power_of_two_moves_scores_and_nothing_else(library, of_query, of_items):
    """Down to the smallest numbers that float32 has, and up to the largest products."""
    rng = np.random.default_rng(8)
    items, vectors = whole_numbers(rng, ITEMS, 16, 16), vectors_of(rng)
    items, vectors = np.ldexp(items, of_items).astype(np.float32), np.ldexp(vectors, of_query).astype(np.float32)
    catalogue = made(items, SIZES, turn=rotation(rng, 16, 16)).catalogue(library)
    assert_best(catalogue, items, [wish(vector, k, np.arange(0, n)) for vector in vectors for k in (1, 20) for n in (0, 9000)])


@pytest.mark.parametrize("large", [1, 30, 3000])
def test_large_rows_spoil_no_more_than_their_own_blocks(library, large):
    """Beside a row a million times as long, others round to nothing in int8."""
    rng = np.random.default_rng(9)
    items = whole_numbers(rng, ITEMS, 16, 16)
    items[rng.integers(0, ITEMS, large)] *= 2.0**20
    up = np.ones((1, 16), np.float32)
    wanted = [wish(vector, k) for vector in (*np.eye(16, dtype=np.float32)[:3], *up) for k in (1, 50)]
    wanted += [wish(one.vector, one.k, np.flatnonzero(np.abs(items).max(axis=1) > 1e5)) for one in wanted]
    assert_best(made(items, SIZES, turn=rotation(rng, 16, 16)).catalogue(library), items, wanted)
