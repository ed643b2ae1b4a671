"""Nearest neighbours, the vector of a history, and the reasons for a score, against a brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.search.mask import Mask
from recoserve.search.query import NeighbourQuery
from recoserve.search.vectors import VectorTable, VectorTables

ROWS, WIDTH = 9, 3
tables = st.lists(st.lists(st.integers(-3, 3), min_size=WIDTH, max_size=WIDTH), min_size=ROWS, max_size=ROWS).map(
    lambda rows: np.array(rows, np.float32)
)
rows = st.lists(st.integers(0, ROWS - 1), max_size=ROWS).map(lambda elements: np.unique(np.array(elements, np.int64)))


def cosine(first, second):
    """0 with a vector of zeros."""
    lengths = np.linalg.norm(first.astype(np.float64)) * np.linalg.norm(second.astype(np.float64))
    return float(first.astype(np.float64) @ second / lengths) if lengths else 0.0


@given(tables, st.integers(0, ROWS - 1), st.integers(1, ROWS + 2), rows, st.none() | rows, st.none() | rows)
def test_the_nearest_are_those_of_largest_cosine_without_the_row_itself(table, row, k, excluded, candidates, passing):
    """Law: the brute force, under exclusions, candidates and a mask; by falling cosine, equal ones in any order."""
    mask = None if passing is None else Mask.of_rows(passing, ROWS)
    ranking = VectorTable(table, unit=False).nearest(NeighbourQuery("item", row, k, excluded, candidates), mask)

    allowed = set(range(ROWS) if candidates is None else candidates.tolist()) - set(excluded.tolist()) - {row}
    allowed &= set(range(ROWS) if passing is None else passing.tolist())
    largest = sorted((cosine(table[neighbour], table[row]) for neighbour in allowed), reverse=True)[:k]
    neighbours = ranking.item_rows.tolist()
    assert set(neighbours) <= allowed and len(set(neighbours)) == len(largest)
    assert ranking.scores == pytest.approx(largest, abs=1e-6)
    assert [cosine(table[neighbour], table[row]) for neighbour in neighbours] == pytest.approx(largest, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
def test_cosines_are_right_where_products_of_two_rows_leave_float32(scale):
    table = (np.array([[1, 0], [1, 1], [0, 1], [-1, 0]]) * scale).astype(np.float32)
    ranking = VectorTable(table, unit=False).nearest(NeighbourQuery("item", 0, 3), None)

    assert ranking.item_rows.tolist() == [1, 2, 3]
    assert ranking.scores == pytest.approx([0.5**0.5, 0, -1], abs=1e-6)


def test_equal_cosines_come_by_ascending_row_and_a_vector_of_zeros_has_cosine_0():
    table = np.array([[1, 0], [0, 0], [2, 0], [4, 0], [0, 3]], np.float32)

    ranking = VectorTable(table, unit=False).nearest(NeighbourQuery("user", 0, 4), None)
    assert (ranking.item_rows.tolist(), ranking.scores.tolist()) == ([2, 3, 1, 4], [1, 1, 0, 0])
    zeros = VectorTable(table, unit=False).nearest(NeighbourQuery("user", 1, 2), None)
    assert (zeros.item_rows.tolist(), zeros.scores.tolist()) == ([0, 2], [0, 0])


def history(vectors, liked, weights=None, disliked=()):
    weights = None if weights is None else np.array(weights)
    vector = vectors.history_vector(np.array(liked), weights, np.array(disliked, np.int64))
    return None if vector is None else vector.tolist()


UNIT = VectorTables(np.eye(2, dtype=np.float32), np.array([[1, 0], [0, 1], [-1, 0], [0, 0]], np.float32), unit=True)


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


def test_other_histories_have_the_length_of_users_and_the_values_that_all_users_share():
    """Users are 1 in the first column, as a bias makes them, and of length 5 beside it."""
    users, items = np.array([[1, 3, 4], [1, 0, 5]], np.float32), np.array([[9, 1, 0], [-2, 0, 8]], np.float32)
    vectors = VectorTables(users, items, unit=False)

    assert history(vectors, [0]) == [1, 5, 0]
    assert history(vectors, [1]) == [1, 0, 5]
    assert history(vectors, [0], disliked=[1]) == pytest.approx([1, 5 * 2 / np.sqrt(68), -5 * 8 / np.sqrt(68)])


def test_where_all_users_are_equal_a_history_still_has_its_own_direction():
    vectors = VectorTables(np.array([[2, 0], [2, 0]], np.float32), np.array([[0, 3]], np.float32), unit=False)

    assert history(vectors, [0]) == [0, 2]


@pytest.mark.parametrize(("liked", "disliked"), [([3], []), ([0, 2], []), ([3, 3], [3]), ([0, 2, 3], [3])])
def test_a_history_without_a_direction_has_no_vector(liked, disliked):
    """Of vectors of zeros, or of vectors that cancel each other out."""
    assert history(UNIT, liked, disliked=disliked) is None


def test_rounding_errors_of_vectors_that_cancel_out_are_no_direction():
    """Three unit vectors at a third of a turn from each other: float32 holds their sum to 1e-8, not to 0."""
    turns = 0.3 + 2 * np.pi * np.arange(3) / 3
    items = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)

    assert items.astype(np.float64).sum(axis=0).any()
    for unit in (True, False):
        assert history(VectorTables(np.eye(2, dtype=np.float32), items, unit=unit), [0, 1, 2]) is None


@given(tables, rows, st.lists(st.integers(0, ROWS - 1), max_size=4), st.integers(1, ROWS))
def test_reasons_are_the_items_of_the_history_with_the_largest_positive_cosine(table, history_rows, item_rows, k):
    """Law: the brute force for each item, itself left out; shares are of all positive cosines, not of the k alone."""
    reasons = list(VectorTables(table[:2], table, unit=False).reasons(item_rows, history_rows, k))

    assert len(reasons) == len(item_rows)
    for item, (rows, cosines, shares) in zip(item_rows, reasons, strict=True):
        truth = {row: cosine(table[row], table[item]) for row in history_rows.tolist() if row != item}
        positive = sorted((value for value in truth.values() if value > 1e-6), reverse=True)
        assert cosines == pytest.approx(positive[:k], abs=1e-6)
        assert [truth[row] for row in rows.tolist()] == pytest.approx(positive[:k], abs=1e-6)
        assert shares == pytest.approx(np.array(positive[:k]) / (sum(positive) or 1), abs=1e-6)


def test_an_item_at_right_angles_is_no_reason():
    """Exactly so on paper; in float64 the cosine is 3e-17."""
    table = np.array([[-1, -2, -2], [2, 2, -3]], np.float32)
    ((rows, _, _),) = VectorTables(table, table, unit=False).reasons([1], np.array([0]), 5)

    assert not len(rows)


def test_a_single_reason_has_the_full_share():
    """Exactly, whatever its cosine rounds to."""
    table = np.array([[1, 2, 3], [3, 1, 2]], np.float32)
    ((rows, _, shares),) = VectorTables(table, table, unit=False).reasons([0], np.array([0, 1]), 5)

    assert (rows.tolist(), shares.tolist()) == ([1], [1.0])


def test_a_table_of_several_slices_is_searched_to_its_end():
    table = VectorTable(np.array([[3, 4], [0, 0], [1, 0], [0, 2], [4, 3]], np.float32), unit=False, slice_rows=2)

    assert table.nearest(NeighbourQuery("item", 0, 2), None).item_rows.tolist() == [4, 3]
    assert history(VectorTables(table.vectors, table.vectors, unit=False), [2]) == pytest.approx([np.sqrt(11), 0])
