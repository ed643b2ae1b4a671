"""The items that each user has interacted with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.bundle.interactions import Interactions
from recoserve.errors import BundleInvalid

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)))


@given(PAIRS)
def test_a_user_has_the_items_of_the_pairs_and_no_others(pairs):
    """Law: of(u) is the sorted set of u's items."""
    users, items = np.array([pair[0] for pair in pairs], np.int64), np.array([pair[1] for pair in pairs], np.int64)
    interactions = Interactions.from_pairs(users, items, 5, 7)

    expected = [sorted({item for user, item in pairs if user == row}) for row in range(5)]
    assert expected == [interactions.of(row).tolist() for row in range(5)]


@pytest.mark.parametrize(
    ("offsets", "items"),
    [([0, 2], [0]), ([1, 1], [0]), ([0, 2, 1], [0]), ([0, 1], [7]), ([0, 1], [-1]), ([0], [])],
)
def test_arrays_that_do_not_fit_together_are_refused(offsets, items):
    with pytest.raises(BundleInvalid, match="interactions"):
        Interactions(np.array(offsets, np.int64), np.array(items, np.int32), 7)
