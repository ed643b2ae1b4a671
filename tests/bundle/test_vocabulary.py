"""A vocabulary maps external ids to rows and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.bundle.vocabulary import IntegerIds, RowNumbers, StringIds
from recoserve.errors import BundleInvalid

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(INT64, min_size=1, unique=True), st.integers())
def test_every_integer_id_has_its_row_and_no_other_integer_has_one(ids, other):
    """Law: find(external(row)) == row; find of any other id is None."""
    vocabulary = IntegerIds(np.array(ids, np.int64))

    assert list(range(len(ids))) == [vocabulary.find(external_id) for external_id in vocabulary.external(range(len(ids)))]
    assert (other in ids) == (vocabulary.find(other) is not None)


@given(st.lists(st.text(), min_size=1, unique=True), st.text())
def test_every_string_id_has_its_row_and_no_other_string_has_one(ids, other):
    """Law: find(external(row)) == row; find of any other string is None, so nothing is folded or trimmed."""
    vocabulary = StringIds(ids)

    assert list(range(len(ids))) == [vocabulary.find(external_id) for external_id in vocabulary.external(range(len(ids)))]
    assert (other in ids) == (vocabulary.find(other) is not None)


@given(st.integers(1, 100), st.integers())
def test_row_numbers_are_their_own_ids(count, other):
    vocabulary = RowNumbers(count)

    assert (0, count - 1) == vocabulary.bounds()
    assert (other if 0 <= other < count else None) == vocabulary.find(other)


@pytest.mark.parametrize("vocabulary", [RowNumbers(3), IntegerIds(np.array([0, 1, 2])), StringIds(["0", "1", "2"])])
def test_an_id_of_the_other_type_is_never_found(vocabulary):
    assert vocabulary.find(1 if vocabulary.id_type is str else "1") is None


def test_a_duplicate_id_is_named():
    with pytest.raises(BundleInvalid, match="id 7 occurs twice"):
        IntegerIds(np.array([7, 1, 7]))
    with pytest.raises(BundleInvalid, match="id 'a' occurs twice"):
        StringIds(["a", "b", "a"])


def test_only_integers_without_a_gap_have_bounds():
    assert IntegerIds(np.array([5, 3, 4])).bounds() == (3, 5)
    assert IntegerIds(np.array([5, 3])).bounds() is None
