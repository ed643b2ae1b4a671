"""Neighbours, histories and reasons, from the tables themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.search.filters import Mask
from recoserve.search.query import NeighbourQuery
from recoserve.search.vectors import Table, Vectors

ROWS, WIDTH = 9, 3
tables = st.lists(st.lists(st.integers(-3, 3), min_size=WIDTH, max_size=WIDTH), min_size=ROWS, max_size=ROWS).map(
    lambda rows: np.array(rows, np.float32)
)
rows = st.lists(st.integers(0, ROWS - 1), max_size=ROWS).map(lambda some: np.unique(np.array(some, np.int64)))


def cosine(left, right):
    """0 with a vector of zeros."""
    lengths = np.linalg.norm(left.astype(np.float64)) * np.linalg.norm(right.astype(np.float64))
    return float(left.astype(np.float64) @ right / lengths) if lengths else 0.0


@given(tables, st.integers(0, ROWS - 1), st.integers(1, ROWS + 2), rows, st.none() | rows, st.none() | rows)
def test_the_nearest_are_those_of_largest_cosine_without_the_row_itself(table, row, k, excluded, candidates, passing):
    """Law: the brute force, under exclusions, candidates and a mask; equals to float32 in any order but by falling cosine."""
    mask = None if passing is None else Mask.of_rows(passing, ROWS)
    found = Table(table, unit=False).nearest(NeighbourQuery("item", row, k, excluded, candidates), mask)

    left = set(range(ROWS) if candidates is None else candidates.tolist()) - set(excluded.tolist()) - {row}
    left &= set(range(ROWS) if passing is None else passing.tolist())
    best = sorted((cosine(table[each], table[row]) for each in left), reverse=True)[:k]
    assert set(found.item_rows.tolist()) <= left and len(set(found.item_rows.tolist())) == len(best)
    assert found.scores == pytest.approx(best, abs=1e-6)
    assert [cosine(table[each], table[row]) for each in found.item_rows] == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
def test_cosines_are_right_where_products_of_two_rows_leave_float32(scale):
    table = (np.array([[1, 0], [1, 1], [0, 1], [-1, 0]]) * scale).astype(np.float32)
    found = Table(table, unit=False).nearest(NeighbourQuery("item", 0, 3), None)

    assert found.item_rows.tolist() == [1, 2, 3]
    assert found.scores == pytest.approx([0.5**0.5, 0, -1], abs=1e-6)


def test_equally_near_rows_come_in_row_order_and_zeros_are_near_nothing():
    table = np.array([[1, 0], [0, 0], [2, 0], [4, 0], [0, 3]], np.float32)

    found = Table(table, unit=False).nearest(NeighbourQuery("user", 0, 4), None)
    assert (found.item_rows.tolist(), found.scores.tolist()) == ([2, 3, 1, 4], [1, 1, 0, 0])
    zeros = Table(table, unit=False).nearest(NeighbourQuery("user", 1, 2), None)
    assert (zeros.item_rows.tolist(), zeros.scores.tolist()) == ([0, 2], [0, 0])


def history(vectors, liked, weights=None, disliked=()):
    found = vectors.of_history(np.array(liked), None if weights is None else np.array(weights), np.array(disliked, np.int64))
    return None if found is None else found.tolist()


UNIT = Vectors(np.eye(2, dtype=np.float32), np.array([[1, 0], [0, 1], [-1, 0], [0, 0]], np.float32), unit=True)


def test_a_history_of_unit_vectors_is_a_unit_vector():
    """The mean of what is liked, by weight; twice that less the mean of what is disliked."""
    half, fifth = np.sqrt(1 / 2), np.sqrt(1 / 5)

    assert history(UNIT, [0]) == [1, 0]
    assert history(UNIT, [0, 1]) == pytest.approx([half, half])
    assert history(UNIT, [0, 1, 1]) == pytest.approx([fifth, 2 * fifth])
    assert history(UNIT, [0, 1], weights=[2.0, 4.0]) == pytest.approx([fifth, 2 * fifth])
    assert history(UNIT, [0], disliked=[1]) == pytest.approx([2 * fifth, -fifth])
    assert history(UNIT, [0], disliked=[0]) == [1, 0]


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-30, 3e38])
def test_weights_count_by_their_shares_alone(scale):
    assert history(UNIT, [0, 1], weights=[scale, scale]) == history(UNIT, [0, 1])


def test_other_vectors_give_one_as_long_as_users_are_with_what_all_users_share():
    """Users are 1 in the first column, as a bias makes them, and of length 5 beside it."""
    users, items = np.array([[1, 3, 4], [1, 0, 5]], np.float32), np.array([[9, 1, 0], [-2, 0, 8]], np.float32)
    vectors = Vectors(users, items, unit=False)

    assert history(vectors, [0]) == [1, 5, 0]
    assert history(vectors, [1]) == [1, 0, 5]
    assert history(vectors, [0], disliked=[1]) == pytest.approx([1, 5 * 2 / np.sqrt(68), -5 * 8 / np.sqrt(68)])


def test_where_all_users_are_one_the_history_has_its_own_direction_still():
    vectors = Vectors(np.array([[2, 0], [2, 0]], np.float32), np.array([[0, 3]], np.float32), unit=False)

    assert history(vectors, [0]) == [0, 2]


@pytest.mark.parametrize(("liked", "disliked"), [([3], []), ([0, 2], []), ([3, 3], [3]), ([0, 2, 3], [3])])
def test_a_history_without_a_direction_is_none(liked, disliked):
    """Of zeros, or of what cancels out."""
    assert history(UNIT, liked, disliked=disliked) is None


def test_what_rounding_leaves_of_vectors_that_cancel_out_is_no_direction():
    """Three unit vectors at a third of a turn from each other: float32 holds their sum to 1e-8, not to 0."""
    turns = 0.3 + 2 * np.pi * np.arange(3) / 3
    items = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)

    assert items.astype(np.float64).sum(axis=0).any()
    for unit in (True, False):
        assert history(Vectors(np.eye(2, dtype=np.float32), items, unit=unit), [0, 1, 2]) is None


@given(tables, rows, st.lists(st.integers(0, ROWS - 1), max_size=4), st.integers(1, ROWS))
def test_reasons_are_the_own_items_of_largest_positive_cosine(table, own, item_rows, k):
    """Law: the brute force for each item, itself left out; shares are of all positive cosines, not of the k alone."""
    found = list(Vectors(table[:2], table, unit=False).reasons(item_rows, own, k))

    assert len(found) == len(item_rows)
    for item, (reasons, cosines, shares) in zip(item_rows, found, strict=True):
        truth = {row: cosine(table[row], table[item]) for row in own.tolist() if row != item}
        positive = sorted((each for each in truth.values() if each > 1e-6), reverse=True)
        assert cosines == pytest.approx(positive[:k], abs=1e-6)
        assert [truth[row] for row in reasons.tolist()] == pytest.approx(positive[:k], abs=1e-6)
        assert shares == pytest.approx(np.array(positive[:k]) / (sum(positive) or 1), abs=1e-6)


def test_what_is_at_right_angles_is_no_reason():
    """Exactly so on paper; in float64 the cosine is 3e-17."""
    table = np.array([[-1, -2, -2], [2, 2, -3]], np.float32)
    ((rows, _, _),) = Vectors(table, table, unit=False).reasons([1], np.array([0]), 5)

    assert not len(rows)


def test_a_lone_reason_carries_everything():
    """Exactly, whatever its cosine rounds to."""
    table = np.array([[1, 2, 3], [3, 1, 2]], np.float32)
    ((rows, _, shares),) = Vectors(table, table, unit=False).reasons([0], np.array([0, 1]), 5)

    assert (rows.tolist(), shares.tolist()) == ([1], [1.0])


def test_a_table_larger_than_is_read_at_once_is_read_whole():
    table = Table(np.array([[3, 4], [0, 0], [1, 0], [0, 2], [4, 3]], np.float32), unit=False, at_once=2)

    assert table.nearest(NeighbourQuery("item", 0, 2), None).item_rows.tolist() == [4, 3]
    assert history(Vectors(table.rows, table.rows, unit=False), [2]) == pytest.approx([np.sqrt(11), 0])
