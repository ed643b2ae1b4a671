"""Ordering and exclusion keep their laws on any scores."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.engine import ranking

SCORES = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), max_size=30)


@given(SCORES, st.integers(0, 40))
def test_best_first_is_a_stable_sort_cut_at_k(scores, k):
    """Law: the same as Python's sort by (-score, row)."""
    rows = np.arange(len(scores))[::-1].copy()
    expected = sorted(((-score, row) for score, row in zip(scores[::-1], rows, strict=True)))[:k]

    found, found_scores = ranking.best_first(rows, np.array(scores[::-1], np.float32), k)
    assert [row for _, row in expected] == found.tolist()
    assert [-score for score, _ in expected] == found_scores.tolist()


@given(SCORES, st.sets(st.integers(0, 29)), st.integers(1, 30))
def test_without_of_a_deep_enough_list_is_the_top_k_of_what_is_left(scores, excluded, k):
    """Law: top-(k + |E|) without E, cut at k, equals the top-k of the catalogue without E."""
    rows, values = np.arange(len(scores)), np.array(scores, np.float32)
    left = np.setdiff1d(rows, list(excluded))
    expected, _ = ranking.best_first(left, values[left], k)
    deep = ranking.best_first(rows, values, k + len(excluded))

    found, _ = ranking.without(*deep, np.array(sorted(excluded), np.int64), k)
    assert expected.tolist() == found.tolist()
