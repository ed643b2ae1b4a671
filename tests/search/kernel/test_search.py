"""Every answer is the brute force's, to the last bit: of any table, by every library, whatever is asked beside it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoserve.bundle.contract import BLOCK
from recoserve.search.mask import Mask
from recoserve.search.kernel.library import Library, libraries
from tests.search.kernel.tables import EXACT, assert_best, heads, made, mixture, rotation, search, whole_numbers, wish

LONG = 12_320  # items of a piece that threads share: four spans of 4,096, the last one short
MANY_PIECES = [96] * 30


@pytest.fixture(scope="module", params=[*range(1, 10), 33, 64, 200, 1024])
def dim(request):
    return request.param


@pytest.fixture(scope="module", params=["turned", "as it is"])
def turned(request):
    return request.param == "turned"


@pytest.fixture(scope="module", params=["head", "no head"])
def table(request, dim, turned):
    """Pieces of odd sizes, the last items in half a block; a head where a table so narrow may have one."""
    rng, head = np.random.default_rng(dim), heads(dim) if request.param == "head" else dim
    sizes = [64, 32, 4128 if dim < 1000 else 160, 96, *MANY_PIECES, 160]
    items = whole_numbers(rng, sum(sizes) - 11, dim, head)
    return made(items, sizes, head, rotation(rng, dim, head) if turned else None)


def test_any_mixture_of_queries_is_answered_exactly(library, table):
    """One to 130 at once, more than are scanned together, of all kinds in one call."""
    rng, dim = np.random.default_rng(7), table.items.shape[1]
    assert np.abs(table.items).max() ** 2 * dim < EXACT
    catalogue = table.catalogue(library)
    assert (catalogue.head < dim) == (table.head < dim)
    wanted = mixture(rng, whole_numbers(rng, 130, dim, table.head), table.items)
    assert_best(catalogue, table.items, wanted)
    for count in (1, 2, 3, 5):
        assert_best(catalogue, table.items, wanted[count : 2 * count])


@settings(max_examples=150)
@given(st.data())
def test_any_shape_is_searched_exactly(data):
    """Law: for any width, pieces, head, number of threads and of queries; where many items are equal, too."""
    rng, dim = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))), data.draw(st.integers(1, 80))
    head = data.draw(st.sampled_from([dim, heads(dim)]))
    sizes = [BLOCK * blocks for blocks in data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=30))]
    largest = data.draw(st.sampled_from([1, 3, 20]))
    items = whole_numbers(rng, sum(sizes) - data.draw(st.integers(0, BLOCK - 1)), dim, head, largest)
    table = made(items, sizes, head, rotation(rng, dim, head) if data.draw(st.booleans()) else None)
    vectors = whole_numbers(rng, data.draw(st.sampled_from([1, 3, 4, 64, 70])), dim, head, largest)
    wanted = mixture(rng, vectors, items)
    threads = data.draw(st.integers(1, 3))
    for each in libraries().items():
        assert_best(table.catalogue(Library(*each), threads), items, wanted)


@pytest.fixture(scope="module")
def wide():
    """25,000 items in four spans and more to a thread, 64 dimensions with a head of 16."""
    rng = np.random.default_rng(3)
    return made(whole_numbers(rng, 2 * LONG + 64 - 5, 64, 16), [LONG, 64, LONG], 16, rotation(rng, 64, 16))


@pytest.mark.parametrize("excluded", [0, 2500, 16_384, 20_000])
def test_the_best_thousands_are_passed_over(library, wide, excluded):
    vectors = whole_numbers(np.random.default_rng(4), 3, 64, 16)
    best_first = [np.argsort(-(wide.items @ vector), kind="stable") for vector in vectors]
    wanted = [wish(vector, 10, np.sort(order[:excluded])) for vector, order in zip(vectors, best_first, strict=True)]
    assert_best(wide.catalogue(library), wide.items, wanted)


@pytest.mark.parametrize("threads", [1, 2])
def test_heads_may_tell_much_here_and_nothing_there(library, threads):
    """They are left out where they rule nothing out, and taken up again: one stretch of the items has the same head throughout,
    which some of the queries want most."""
    rng, items = np.random.default_rng(8), whole_numbers(np.random.default_rng(9), 3 * LONG, 64, 16)
    items[LONG : 2 * LONG, :16] = 120
    vectors = whole_numbers(rng, 12, 64, 16)
    vectors[:8, :16] = rng.integers(0, 4, (8, 16)) * 40
    table = made(items, [LONG, LONG, LONG], 16, rotation(rng, 64, 16))
    assert np.abs(items).max() ** 2 * 64 < EXACT
    catalogue = table.catalogue(library, threads)
    assert catalogue.head < 64
    for count in (1, 12):
        assert_best(catalogue, items, [wish(vector, 10) for vector in vectors[:count]])


@pytest.mark.parametrize("k", [1, 127, 128, 129, 1000, 24_700, 2 * LONG + 59, 10**6])
def test_a_list_may_be_as_long_as_the_catalogue_and_longer(library, wide, k):
    vectors = whole_numbers(np.random.default_rng(5), 3, 64, 16)
    assert_best(wide.catalogue(library), wide.items, [wish(vector, k) for vector in vectors])


def test_an_array_with_gaps_is_refused(library, wide):
    """The kernel would read what is in them."""
    catalogue, vectors, whole = wide.catalogue(library), np.ones((1, 128), np.float32), wish(np.ones(64, np.float32))
    mask = Mask(np.ones(len(wide.items), np.uint8)[::2], len(wide.items))
    gaps = [whole._replace(excluded=np.arange(100)[::2]), whole._replace(mask=mask)]
    for narrow, wanted in [(vectors[:, ::2], whole), *((vectors[:, :64].copy(), one) for one in gaps)]:
        with pytest.raises(ValueError, match="gaps"):
            catalogue.search(narrow, [wanted])


@pytest.mark.parametrize(("rows", "width", "k"), [(1, 63, 10), (1, 128, 10), (2, 64, 10), (1, 64, 0)])
def test_what_does_not_fit_is_refused(library, wide, rows, width, k):
    with pytest.raises(ValueError, match="as wide as the items"):
        wide.catalogue(library).search(np.ones((rows, width), np.float32), [wish(np.ones(64, np.float32), k)])


def test_few_items_are_scored_where_the_answer_is_clear(library, wide):
    """Or the tests above would only hold a full scan against a full scan."""
    vectors = wide.items[:8] * 3
    found = search(wide.catalogue(library), [wish(vector, 1) for vector in vectors])
    assert max(one.scored for one in found) < len(wide.items) / 100


@pytest.mark.parametrize("dimension", [0, 3, 4, 15])
def test_an_item_is_found_wherever_it_stands(library, dimension):
    """At each lane, in whole tiles and in half ones, in a thread's first spans as in its last: the one that a query wants, when
    those that it wants more are excluded."""
    rng, sizes, items = np.random.default_rng(6), [96] * 9 + [4128], np.zeros((9 * 96 + 4128, 16), np.float32)
    items[:, :4] = rng.integers(-20, 21, (len(items), 4))
    places = rng.permutation([*range(70), *range(830, 900), *range(len(items) - 70, len(items))])
    items[places, dimension] = 100 + np.arange(len(places))
    table, vector = made(items, sizes, 4), np.eye(16, dtype=np.float32)[dimension]
    wanted = [wish(vector, 1, np.sort(places[better + 1 :])) for better in range(len(places))]
    for threads in (1, 2):
        found = search(table.catalogue(library, threads), wanted)
        assert [one.rows.tolist() for one in found] == [[place] for place in places]


@pytest.mark.parametrize("head", [384, 1024])
def test_a_catalogue_that_no_cache_holds_is_searched_exactly(library, head):
    """Heads of more than 8 MB are asked for before they are scanned."""
    rng, sizes = np.random.default_rng(11), [4096, 10_016, 8192]
    items = whole_numbers(rng, sum(sizes) - 11, 1024, head)
    catalogue = made(items, sizes, head).catalogue(library)
    assert catalogue.head == head
    assert catalogue.head * len(items) > 8 << 20
    wanted = mixture(rng, whole_numbers(rng, 9, 1024, head), items)
    for some in (wanted, wanted[:2]):
        assert_best(catalogue, items, some)
