"""Metadata lines and seen pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.bundle.interactions import Interactions
from recoserve.bundle.item_metadata import Lines, lines
from recoserve.errors import BundleInvalid

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)))


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), min_size=1))
def test_every_line_comes_back_by_its_row(rows):
    """Law: Lines(lines(rows))[i] == rows[i]."""
    stored = Lines(np.frombuffer(b"".join(lines(rows)), np.uint8))

    assert rows == [stored[row] for row in range(len(stored))]


def test_a_cut_off_line_is_refused():
    with pytest.raises(BundleInvalid, match="cut off"):
        Lines(np.frombuffer(b'{"a": 1}\n{"b"', np.uint8))


@given(PAIRS)
def test_a_user_has_seen_the_items_of_the_pairs_and_no_others(pairs):
    """Law: of(u) is the sorted set of u's items."""
    users, items = np.array([pair[0] for pair in pairs], np.int64), np.array([pair[1] for pair in pairs], np.int64)
    seen = Interactions.from_pairs(users, items, 5, 7)

    assert [sorted({item for user, item in pairs if user == row}) for row in range(5)] == [
        seen.of(row).tolist() for row in range(5)
    ]


@pytest.mark.parametrize(
    ("offsets", "items"),
    [([0, 2], [0]), ([1, 1], [0]), ([0, 2, 1], [0]), ([0, 1], [7]), ([0, 1], [-1]), ([0], [])],
)
def test_arrays_that_do_not_fit_are_refused(offsets, items):
    with pytest.raises(BundleInvalid, match="seen pairs"):
        Interactions(np.array(offsets, np.int64), np.array(items, np.int32), 7)
