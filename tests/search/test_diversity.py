"""Maximal marginal relevance, against its formula in plain Python."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recoserve.search.diversity import diverse_positions

SCORES = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), max_size=30)


def cosine(first, second):
    """0 with a vector of zeros."""
    lengths = np.linalg.norm(first.astype(float)) * np.linalg.norm(second.astype(float))
    return float(first.astype(float) @ second.astype(float)) / lengths if lengths else 0.0


@given(SCORES, st.integers(1, 12), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.integers(0, 5))
def test_each_item_is_the_one_of_largest_value_given_those_before_it(scores, k, diversity, seed):
    """Law: k different positions, the best item first, each next one of the largest marginal relevance by the formula."""
    scores = np.array(sorted(scores, reverse=True), np.float32)
    vectors = np.random.default_rng(seed).integers(-1, 2, (len(scores), 3)).astype(np.float32)
    low, high = (float(scores[-1]), float(scores[0])) if len(scores) else (0.0, 0.0)

    def marginal(position, chosen):
        relevance = (float(scores[position]) - low) / (high - low) if high > low else 1.0
        likeness = max(cosine(vectors[position], vectors[other]) for other in chosen)
        return round((1 - diversity) * relevance - diversity * likeness, 9)

    chosen = diverse_positions(scores, vectors, k, diversity).tolist()
    assert len(set(chosen)) == len(chosen) == min(k, len(scores))
    assert not chosen or chosen[0] == 0
    for step in range(1, len(chosen)):
        remaining = [position for position in range(len(scores)) if position not in chosen[:step]]
        assert marginal(chosen[step], chosen[:step]) == max(marginal(position, chosen[:step]) for position in remaining)


def test_without_diversity_the_order_is_the_ranking():
    assert diverse_positions(np.array([3, 2, 1], np.float32), np.eye(3, dtype=np.float32), 3, 0.0).tolist() == [0, 1, 2]
