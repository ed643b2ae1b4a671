"""External ids and rows are two names of the same thing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.bundle.vocabulary import IntegerIds, RowNumbers, StringIds
from recoserve.errors import BundleInvalid

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(INT64, min_size=1, unique=True), st.integers())
def test_integers_are_found_where_they_stand_and_nowhere_else(ids, other):
    """Law: find(external(row)) == row; what is not in the list is None."""
    vocabulary = IntegerIds(np.array(ids, np.int64))

    assert list(range(len(ids))) == [vocabulary.find(external) for external in vocabulary.external(range(len(ids)))]
    assert (other in ids) == (vocabulary.find(other) is not None)


@given(st.lists(st.text(), min_size=1, unique=True), st.text())
def test_strings_likewise(ids, other):
    """The same law; nothing is folded or trimmed."""
    vocabulary = StringIds(ids)

    assert list(range(len(ids))) == [vocabulary.find(external) for external in vocabulary.external(range(len(ids)))]
    assert (other in ids) == (vocabulary.find(other) is not None)


@given(st.integers(1, 100), st.integers())
def test_row_numbers_are_themselves(count, other):
    vocabulary = RowNumbers(count)

    assert (0, count - 1) == vocabulary.bounds()
    assert (other if 0 <= other < count else None) == vocabulary.find(other)


@pytest.mark.parametrize("vocabulary", [RowNumbers(3), IntegerIds(np.array([0, 1, 2])), StringIds(["0", "1", "2"])])
def test_an_id_of_the_other_type_is_never_found(vocabulary):
    assert vocabulary.find(1 if vocabulary.id_type is str else "1") is None


def test_an_id_that_stands_twice_is_named():
    with pytest.raises(BundleInvalid, match="id 7 stands for two rows"):
        IntegerIds(np.array([7, 1, 7]))
    with pytest.raises(BundleInvalid, match="id 'a' stands for two rows"):
        StringIds(["a", "b", "a"])


def test_bounds_are_told_only_where_there_is_no_gap():
    assert IntegerIds(np.array([5, 3, 4])).bounds() == (3, 5)
    assert IntegerIds(np.array([5, 3])).bounds() is None
