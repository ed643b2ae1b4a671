"""The order of rankings, on any scores."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recoserve.search.ordering import best_first

SCORES = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), max_size=30)


@given(SCORES, st.integers(0, 40))
def test_the_best_come_first_and_equal_scores_by_ascending_row(scores, k):
    """Law: Python's sort by (-score, row), cut at k, whatever order the rows come in."""
    descending_rows = np.arange(len(scores))[::-1].copy()
    expected = sorted((-score, row) for score, row in zip(scores[::-1], descending_rows, strict=True))[:k]

    rows, best_scores = best_first(descending_rows, np.array(scores[::-1], np.float32), k)
    assert [row for _, row in expected] == rows.tolist()
    assert [-score for score, _ in expected] == best_scores.tolist()
