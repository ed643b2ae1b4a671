"""Which items a query allows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recoserve.search.mask import Mask
from recoserve.search.query import Query

ITEMS = 30
ROWS = st.sets(st.integers(0, ITEMS - 1))


@given(ROWS, st.none() | ROWS, st.lists(st.integers(0, ITEMS - 1), max_size=40))
def test_a_query_allows_what_is_neither_excluded_nor_masked(excluded, passing, rows):
    """Law: for rows in any order, any number of times; without a mask every item passes."""
    mask = None if passing is None else Mask.of_rows(np.array(sorted(passing), np.int64), ITEMS)
    query = Query(0, 5, np.array(sorted(excluded), np.int64), mask=mask)

    expected = [(passing is None or row in passing) and row not in excluded for row in rows]
    assert query.allows(np.array(rows, np.int64)).tolist() == expected
