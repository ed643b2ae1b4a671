"""Ordering and exclusion keep their laws on any scores."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recoserve.search import ranking
from recoserve.search.filters import Mask
from recoserve.search.query import Query

SCORES = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), max_size=30)


@given(SCORES, st.integers(0, 40))
def test_best_first_is_a_stable_sort_cut_at_k(scores, k):
    """Law: the same as Python's sort by (-score, row)."""
    rows = np.arange(len(scores))[::-1].copy()
    expected = sorted(((-score, row) for score, row in zip(scores[::-1], rows, strict=True)))[:k]

    found, found_scores = ranking.best_first(rows, np.array(scores[::-1], np.float32), k)
    assert [row for _, row in expected] == found.tolist()
    assert [-score for score, _ in expected] == found_scores.tolist()


@given(st.sets(st.integers(0, 29)), st.sets(st.integers(0, 29)), st.lists(st.integers(0, 29), max_size=40))
def test_a_query_allows_what_is_neither_excluded_nor_masked(excluded, passing, rows):
    """In any order, any number of times."""
    mask = Mask.of_rows(np.array(sorted(passing), np.int64), 30)
    query = Query(0, 5, np.array(sorted(excluded), np.int64), mask=mask)
    expected = [row in passing and row not in excluded for row in rows]
    assert query.allows(np.array(rows, np.int64)).tolist() == expected


@given(SCORES, st.integers(1, 12), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.integers(0, 5))
def test_a_diverse_answer_is_the_greedy_choice(scores, k, diversity, seed):
    """Law: each item is the one of largest value given those before it, by the formula in Python; equals by place."""
    scores = np.array(sorted(scores, reverse=True), np.float32)
    vectors = np.random.default_rng(seed).integers(-1, 2, (len(scores), 3)).astype(np.float32)
    low, high = (float(scores[-1]), float(scores[0])) if len(scores) else (0.0, 0.0)

    def cosine(one, other):
        lengths = np.linalg.norm(vectors[one].astype(float)) * np.linalg.norm(vectors[other].astype(float))
        return float(vectors[one].astype(float) @ vectors[other].astype(float)) / lengths if lengths else 0.0

    def value(place, chosen):
        worth = (float(scores[place]) - low) / (high - low) if high > low else 1.0
        return round((1 - diversity) * worth - diversity * max(cosine(place, other) for other in chosen), 9)

    found = ranking.diverse(scores, vectors, k, diversity).tolist()
    assert len(set(found)) == len(found) == min(k, len(scores))
    assert not found or found[0] == 0
    for step in range(1, len(found)):
        left = [place for place in range(len(scores)) if place not in found[:step]]
        assert value(found[step], found[:step]) == max(value(place, found[:step]) for place in left)


def test_without_diversity_the_order_is_the_ranking():
    assert ranking.diverse(np.array([3, 2, 1], np.float32), np.eye(3, dtype=np.float32), 3, 0.0).tolist() == [0, 1, 2]
