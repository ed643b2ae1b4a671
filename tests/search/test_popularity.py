"""What most users have interacted with."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recoserve.bundle.interactions import Interactions
from recoserve.search.filters import Mask
from recoserve.search.popularity import Popularity
from recoserve.search.query import Query

USERS, ITEMS = 5, 7
pairs = st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(0, ITEMS - 1)), min_size=1)
rows = st.lists(st.integers(0, ITEMS - 1), max_size=ITEMS).map(lambda some: np.unique(np.array(some, np.int64)))


@given(pairs, st.integers(1, ITEMS + 2), rows, st.none() | rows, st.none() | rows)
def test_the_popular_are_those_with_most_users_equals_by_row(seen, k, excluded, candidates, passing):
    """Law: a count of distinct pairs, under exclusions, candidates and a mask; a pair that comes twice counts once."""
    mask = None if passing is None else Mask.of_rows(passing, ITEMS)
    popularity = Popularity(Interactions.from_pairs(*np.array(seen, np.int64).T, USERS, ITEMS), ITEMS)
    found = popularity.top(Query(None, k, excluded, candidates, mask=mask))

    counts = Counter(item for _, item in set(seen))
    left = set(range(ITEMS) if candidates is None else candidates.tolist()) - set(excluded.tolist())
    left &= set(range(ITEMS) if passing is None else passing.tolist())
    expected = sorted(left, key=lambda item: (-counts[item], item))[:k]
    assert found.item_rows.tolist() == expected
    assert found.scores.tolist() == [counts[item] for item in expected]


def test_what_is_allowed_may_stand_far_down_a_long_list():
    """Of 40,000 items, all with one interaction but the last, which has two: everything but the last five is excluded."""
    items = 40_000
    seen = Interactions.from_pairs(np.array([0] * items + [1]), np.array([*range(items), items - 1]), 2, items)
    found = Popularity(seen, items).top(Query(None, 3, excluded=np.arange(items - 5)))

    assert found.item_rows.tolist() == [39_999, 39_995, 39_996]
    assert found.scores.tolist() == [2, 1, 1]


def test_without_any_interaction_all_are_equal():
    nothing = Popularity(Interactions(np.zeros(USERS + 1, np.int64), np.empty(0, np.int32), ITEMS), ITEMS)

    assert nothing.top(Query(None, 3)).item_rows.tolist() == [0, 1, 2]
