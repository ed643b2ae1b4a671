"""Tables for which one part of a bound is all there is: none of them may be smaller than it is.

A thread first scans items that reach much, or seem to, and last of all, where the head is looked at first, the one item that is
better and looks worse, by exactly what the part has to make up for.
"""

import numpy as np
import pytest

from recoserve.bundle.contract import BLOCK
from tests.search.kernel.tables import made, search, wish

DIM, HEAD, SIZES = 20, 8, [64] * 12
BEST = sum(SIZES) - BLOCK + 1  # its row, the second of the last block
NOTHING = np.zeros(DIM, np.float32)
PEAK = 127.0  # an item with it in its block makes the block's steps 1


@pytest.fixture
def full(library):
    """A query's largest number, if its steps are to be 1."""
    return {"avx512vnni": 127.0, "avx2": 63.0}[library.name]


def row(first, others=0.0, head=0.0):
    """A vector: its first number, the others of the head, and those beyond."""
    return np.array([first] + [head] * (HEAD - 1) + [others] * (DIM - HEAD), np.float32)


# Each gives the query, the best item, those that come first, and what stands in a block beside the best, and beside those.


def what_rounding_takes_from_the_query(full):
    """It rounds to nothing wherever the best item has anything."""
    query, best = row(full, 0.49, 0.49), row(0, PEAK, PEAK)
    return query, best, row(best @ query / full / 1.02), NOTHING, NOTHING


def what_rounding_takes_from_an_item(full):
    """The best item rounds to nothing beside a large one."""
    query, best = row(full, full, full), row(0, 0.49, 0.49)
    return query, best, row(best @ query / full / 1.02), row(-PEAK), NOTHING


def what_lies_beyond_the_head(full):
    """All of the best item does, along the query; twelve ones are 3.46 long, and have to count as 4."""
    return row(full, full), row(0, 1), row(11.5), row(-PEAK), NOTHING


def what_is_next_to_the_head(full):
    """All of the best item is one number along the query, the first beyond the head or the last: to a hundredth what is needed."""
    return along(HEAD, full)


def what_is_last(full):
    return along(DIM - 1, full)


def along(dimension, full):
    query, best = np.zeros((2, DIM), np.float32)
    query[[0, dimension]], best[dimension] = full, 100
    return query, best, row(99), row(-PEAK), NOTHING


def what_rounding_gives_to_the_query(full):
    """It is 1 for 0.51 wherever the items that come first have anything, and they seem to reach twice what they do."""
    return row(full, 0.51, 0.51), row(10 * PEAK / full), row(0, PEAK, PEAK), NOTHING, NOTHING


def what_rounding_gives_to_items(full):
    """Those that come first are 1 for 0.51, beside a large one."""
    return row(full, full, full), row(12), row(0.51, 0.51, 0.51), NOTHING, row(-PEAK)


PARTS = [
    what_rounding_takes_from_the_query,
    what_rounding_takes_from_an_item,
    what_lies_beyond_the_head,
    what_is_next_to_the_head,
    what_is_last,
    what_rounding_gives_to_the_query,
    what_rounding_gives_to_items,
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
@pytest.mark.parametrize("beside", ["nothing", "an excluded one", "a masked one", "padding"])
def test_the_best_item_is_found_however_bad_it_looks(library, full, part, beside):
    """Alone in its block, beside a better one that may not be in the answer, and in the catalogue's last block."""
    query, best, first, with_best, with_first = part(full)
    items = np.tile(row(-PEAK), (sum(SIZES), 1))
    items[:BLOCK] = items[-BLOCK:] = NOTHING
    items[:2], items[BEST - 1 : BEST + 1] = (first, with_first), (with_best, best)
    if beside.endswith("one"):
        items[BEST + 1] = best + row(1)
    items = items[: BEST + 3] if beside == "padding" else items
    excluded = [BEST + 1] if beside == "an excluded one" else []
    passing = np.delete(np.arange(len(items)), BEST + 1) if beside == "a masked one" else None
    catalogue = made(items, SIZES, HEAD).catalogue(library, 1)
    assert (catalogue.head, int(np.argmax(np.delete(items @ query, BEST + 1)))) == (HEAD, BEST)

    (found,) = search(catalogue, [wish(query, 1, excluded, passing, len(items))])
    assert found.rows.tolist() == [BEST]
