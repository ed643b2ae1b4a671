"""The most popular items are those with the most interactions."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recoserve.bundle.interactions import Interactions
from recoserve.search.mask import Mask
from recoserve.search.popularity import Popularity
from recoserve.search.query import Query

USERS, ITEMS = 5, 7
pairs = st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(0, ITEMS - 1)), min_size=1)
rows = st.lists(st.integers(0, ITEMS - 1), max_size=ITEMS).map(lambda elements: np.unique(np.array(elements, np.int64)))


@given(pairs, st.integers(1, ITEMS + 2), rows, st.none() | rows, st.none() | rows)
def test_the_popular_are_those_with_the_most_users_equal_ones_by_row(interactions, k, excluded, candidates, passing):
    """Law: a count of distinct pairs, under exclusions, candidates and a mask; a pair that comes twice counts once."""
    mask = None if passing is None else Mask.of_rows(passing, ITEMS)
    popularity = Popularity(Interactions.from_pairs(*np.array(interactions, np.int64).T, USERS, ITEMS), ITEMS)
    ranking = popularity.top(Query(None, k, excluded, candidates, mask=mask))

    counts = Counter(item for _, item in set(interactions))
    allowed = set(range(ITEMS) if candidates is None else candidates.tolist()) - set(excluded.tolist())
    allowed &= set(range(ITEMS) if passing is None else passing.tolist())
    expected = sorted(allowed, key=lambda item: (-counts[item], item))[:k]
    assert ranking.item_rows.tolist() == expected
    assert ranking.scores.tolist() == [counts[item] for item in expected]


def test_what_is_allowed_is_found_however_far_down_the_list_it_is():
    """Of 40,000 items, all with one interaction but the last, which has two: everything but the last five is excluded."""
    items = 40_000
    interactions = Interactions.from_pairs(np.array([0] * items + [1]), np.array([*range(items), items - 1]), 2, items)
    ranking = Popularity(interactions, items).top(Query(None, 3, excluded=np.arange(items - 5)))

    assert ranking.item_rows.tolist() == [39_999, 39_995, 39_996]
    assert ranking.scores.tolist() == [2, 1, 1]


def test_without_any_interaction_the_order_is_that_of_the_rows():
    popularity = Popularity(Interactions(np.zeros(USERS + 1, np.int64), np.empty(0, np.int32), ITEMS), ITEMS)

    assert popularity.top(Query(None, 3)).item_rows.tolist() == [0, 1, 2]
