"""The hits are those of a brute force, to the last bit: in any table, by every library, whatever is searched for beside them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoserve.bundle.contract import BLOCK
from recoserve.search.kernel.library import KernelLibrary, libraries
from recoserve.search.mask import Mask
from tests.search.kernel.tables import (
    EXACT,
    assert_exact,
    head_for,
    item_table,
    mixed_queries,
    random_rotation,
    search,
    vector_query,
    whole_numbers,
)

LONG = 12_320  # items of a piece that threads share: four spans of 4,096, the last one short
MANY_PIECES = [96] * 30


@pytest.fixture(scope="module", params=[*range(1, 10), 33, 64, 200, 1024])
def dim(request):
    return request.param


@pytest.fixture(scope="module", params=["rotated", "as it is"])
def rotated(request):
    return request.param == "rotated"


@pytest.fixture(scope="module", params=["head", "no head"])
def table(request, dim, rotated):
    """Pieces of odd sizes, the last items in half a block; a head where a table so narrow may have one."""
    rng, head = np.random.default_rng(dim), head_for(dim) if request.param == "head" else dim
    sizes = [64, 32, 4128 if dim < 1000 else 160, 96, *MANY_PIECES, 160]
    items = whole_numbers(rng, sum(sizes) - 11, dim, head)
    return item_table(items, sizes, head, random_rotation(rng, dim, head) if rotated else None)


def test_any_mixture_of_queries_is_searched_exactly(library, table):
    """One to 130 in a call, more than are scanned together, of all kinds."""
    rng, dim = np.random.default_rng(7), table.items.shape[1]
    assert np.abs(table.items).max() ** 2 * dim < EXACT
    index = table.index(library)
    assert (index.leading_dimensions < dim) == (table.head < dim)
    queries = mixed_queries(rng, whole_numbers(rng, 130, dim, table.head), table.items)
    assert_exact(index, table.items, queries)
    for count in (1, 2, 3, 5):
        assert_exact(index, table.items, queries[count : 2 * count])


@settings(max_examples=150)
@given(st.data())
def test_any_shape_is_searched_exactly(data):
    """Any width, pieces, head, number of threads and of queries; tables with many equal items, too."""
    rng, dim = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))), data.draw(st.integers(1, 80))
    head = data.draw(st.sampled_from([dim, head_for(dim)]))
    sizes = [BLOCK * blocks for blocks in data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=30))]
    largest = data.draw(st.sampled_from([1, 3, 20]))
    items = whole_numbers(rng, sum(sizes) - data.draw(st.integers(0, BLOCK - 1)), dim, head, largest)
    table = item_table(items, sizes, head, random_rotation(rng, dim, head) if data.draw(st.booleans()) else None)
    vectors = whole_numbers(rng, data.draw(st.sampled_from([1, 3, 4, 64, 70])), dim, head, largest)
    queries = mixed_queries(rng, vectors, items)
    threads = data.draw(st.integers(1, 3))
    for name, path in libraries().items():
        assert_exact(table.index(KernelLibrary(name, path), threads), items, queries)


@pytest.fixture(scope="module")
def long_table():
    """25,000 items in four spans and more to a thread, 64 dimensions with a head of 16."""
    rng = np.random.default_rng(3)
    return item_table(whole_numbers(rng, 2 * LONG + 64 - 5, 64, 16), [LONG, 64, LONG], 16, random_rotation(rng, 64, 16))


@pytest.mark.parametrize("count", [0, 2500, 16_384, 20_000])
def test_the_best_thousands_may_be_excluded(library, long_table, count):
    vectors = whole_numbers(np.random.default_rng(4), 3, 64, 16)
    best_first = [np.argsort(-(long_table.items @ vector), kind="stable") for vector in vectors]
    queries = [vector_query(vector, 10, np.sort(order[:count])) for vector, order in zip(vectors, best_first, strict=True)]
    assert_exact(long_table.index(library), long_table.items, queries)


@pytest.mark.parametrize("threads", [1, 2])
def test_heads_may_rule_out_much_in_one_region_and_nothing_in_the_next(library, threads):
    """They are left out where they rule nothing out, and taken up again: a third of the items has the same head, for which some of
    the queries have the highest products."""
    rng, items = np.random.default_rng(8), whole_numbers(np.random.default_rng(9), 3 * LONG, 64, 16)
    items[LONG : 2 * LONG, :16] = 120
    vectors = whole_numbers(rng, 12, 64, 16)
    vectors[:8, :16] = rng.integers(0, 4, (8, 16)) * 40
    table = item_table(items, [LONG, LONG, LONG], 16, random_rotation(rng, 64, 16))
    assert np.abs(items).max() ** 2 * 64 < EXACT
    index = table.index(library, threads)
    assert index.leading_dimensions < 64
    for count in (1, 12):
        assert_exact(index, items, [vector_query(vector, 10) for vector in vectors[:count]])


@pytest.mark.parametrize("k", [1, 127, 128, 129, 1000, 24_700, 2 * LONG + 59, 10**6])
def test_k_may_be_as_large_as_the_index_and_larger(library, long_table, k):
    vectors = whole_numbers(np.random.default_rng(5), 3, 64, 16)
    assert_exact(long_table.index(library), long_table.items, [vector_query(vector, k) for vector in vectors])


def test_an_array_that_is_not_contiguous_is_refused(library, long_table):
    """The kernel would read what lies in its gaps."""
    index, vectors, query = long_table.index(library), np.ones((1, 128), np.float32), vector_query(np.ones(64, np.float32))
    mask = Mask(np.ones(len(long_table.items), np.uint8)[::2], len(long_table.items))
    with_gaps = [query._replace(excluded=np.arange(100)[::2]), query._replace(mask=mask)]
    for vector, refused in [(vectors[:, ::2], query), *((vectors[:, :64].copy(), query) for query in with_gaps)]:
        with pytest.raises(ValueError, match="contiguous"):
            index.search(vector, [refused])


@pytest.mark.parametrize(("rows", "width", "k"), [(1, 63, 10), (1, 128, 10), (2, 64, 10), (1, 64, 0)])
def test_vectors_of_another_shape_and_a_k_of_zero_are_refused(library, long_table, rows, width, k):
    with pytest.raises(ValueError, match="as wide as the items"):
        long_table.index(library).search(np.ones((rows, width), np.float32), [vector_query(np.ones(64, np.float32), k)])


def test_few_items_are_rescored_where_the_best_stands_out(library, long_table):
    """Or the tests above would only hold a full scan against a full scan."""
    vectors = long_table.items[:8] * 3
    all_hits = search(long_table.index(library), [vector_query(vector, 1) for vector in vectors])
    assert max(hits.rescored for hits in all_hits) < len(long_table.items) / 100


@pytest.mark.parametrize("dimension", [0, 3, 4, 15])
def test_an_item_is_a_hit_in_whatever_lane_it_stands(library, dimension):
    """In full tiles and half-filled ones, in a thread's first spans and its last: each in turn is the best that isn't excluded."""
    rng, sizes, items = np.random.default_rng(6), [96] * 9 + [4128], np.zeros((9 * 96 + 4128, 16), np.float32)
    items[:, :4] = rng.integers(-20, 21, (len(items), 4))
    rows = rng.permutation([*range(70), *range(830, 900), *range(len(items) - 70, len(items))])
    items[rows, dimension] = 100 + np.arange(len(rows))
    table, vector = item_table(items, sizes, 4), np.eye(16, dtype=np.float32)[dimension]
    queries = [vector_query(vector, 1, np.sort(rows[position + 1 :])) for position in range(len(rows))]
    for threads in (1, 2):
        all_hits = search(table.index(library, threads), queries)
        assert [hits.rows.tolist() for hits in all_hits] == [[row] for row in rows]


@pytest.mark.parametrize("head", [384, 1024])
def test_an_index_that_no_cache_holds_is_searched_exactly(library, head):
    """Heads of more than 8 MB are prefetched."""
    rng, sizes = np.random.default_rng(11), [4096, 10_016, 8192]
    items = whole_numbers(rng, sum(sizes) - 11, 1024, head)
    index = item_table(items, sizes, head).index(library)
    assert index.leading_dimensions == head
    assert index.leading_dimensions * len(items) > 8 << 20
    queries = mixed_queries(rng, whole_numbers(rng, 9, 1024, head), items)
    for some in (queries, queries[:2]):
        assert_exact(index, items, some)
