"""Recall, NDCG and coverage: figures known by reasoning, and the formulas worked out slowly."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve_export.zoo.data.dataset import InteractionPairs, Split
from recoserve_export.zoo.training.evaluation import evaluate, evaluate_popularity, evaluate_tables, top


def pairs(*cells: tuple[int, int]) -> InteractionPairs:
    rows = np.array(cells, np.int64).reshape(-1, 2)
    return InteractionPairs(rows[:, 0], rows[:, 1])


def scored(table: list[list[float]]):
    scores = np.array(table, np.float32)
    return lambda rows: scores[rows]


def test_a_ranking_that_puts_all_held_out_items_first_has_recall_and_ndcg_one():
    split = Split(pairs((0, 0)), pairs((0, 1), (0, 2)))
    metrics = evaluate(scored([[9, 8, 7, 1, 0]]), split, 5, 3)

    assert (metrics.recall, metrics.ndcg) == (1.0, 1.0)
    assert metrics.coverage == 3 / 5


def test_a_ranking_that_shows_no_held_out_item_has_recall_and_ndcg_zero():
    metrics = evaluate(scored([[0, 1, 2, 3]]), Split(pairs(), pairs((0, 0))), 4, 2)

    assert (metrics.recall, metrics.ndcg) == (0.0, 0.0)


def test_a_single_held_out_item_in_second_place_has_recall_one_and_ndcg_one_over_log2_of_3():
    metrics = evaluate(scored([[5, 4, 3]]), Split(pairs(), pairs((0, 1))), 3, 2)

    assert metrics.recall == 1.0
    assert 1 / math.log2(3) == pytest.approx(metrics.ndcg)


def test_recall_is_a_share_of_the_hits_that_k_items_can_have():
    held_out = pairs(*[(0, item) for item in range(8)])
    metrics = evaluate(scored([list(range(10))]), Split(pairs(), held_out), 10, 4)

    assert metrics.recall == 2 / 4, "items 9 and 8 are misses, 7 and 6 hits; eight are held out, and four can be shown"


def test_figures_are_means_over_the_users_who_have_held_out_items():
    split = Split(pairs((2, 0)), pairs((0, 0), (1, 1)))
    metrics = evaluate(scored([[1, 0], [1, 0], [1, 0]]), split, 2, 1)

    assert metrics.recall == 0.5
    assert metrics.coverage == 0.5, "user 2 was shown nothing"


def test_items_from_training_are_never_shown():
    split = Split(pairs((0, 0), (0, 1)), pairs((0, 3)))

    assert top(np.array([9, 8, 2, 1], np.float32), split.train.item, 10).tolist() == [2, 3]


def test_equal_scores_rank_by_row():
    assert top(np.array([1, 2, 2, 1, 1], np.float32), np.array([], np.int64), 4).tolist() == [1, 2, 0, 3]


def test_a_user_who_interacted_with_every_item_is_shown_nothing():
    assert top(np.array([1, 2], np.float32), np.array([0, 1]), 5).tolist() == []


def test_the_baseline_shows_the_items_with_the_most_interactions_in_training():
    train = pairs((0, 3), (1, 3), (2, 3), (0, 1), (1, 1), (2, 0))
    metrics = evaluate_popularity(Split(train, pairs((3, 3), (4, 0))), 5, 2)

    assert metrics.recall == 0.5, "everyone is shown 3 and 1"
    assert metrics.coverage == 2 / 5


def test_tables_are_ranked_by_direction_under_cosine_and_by_length_too_under_dot():
    users, items = np.array([[1, 0]], np.float32), np.array([[0.1, 0], [5, 5], [0, 0]], np.float32)
    split = Split(pairs(), pairs((0, 0)))

    assert evaluate_tables(users, items, split, 1, "cosine").recall == 1.0
    assert evaluate_tables(users, items, split, 1, "dot").recall == 0.0


def test_figures_are_named_as_the_manifest_names_them():
    metrics = evaluate(scored([[1, 0]]), Split(pairs(), pairs((0, 0))), 2, 1)

    assert metrics.named() == {"recall@1": 1.0, "ndcg@1": 1.0, "coverage@1": 0.5}


def slow_figures(scores, train, held_out, k):
    """The docstring's formulas, user by user and rank by rank."""
    recalls, ndcgs, shown = [], [], set()
    for user in sorted({user for user, _ in held_out}):
        truth = {item for person, item in held_out if person == user}
        unseen = [item for item in range(len(scores[user])) if (user, item) not in train]
        best = sorted(unseen, key=lambda item: (-scores[user][item], item))[:k]
        hits = [rank for rank, item in enumerate(best, 1) if item in truth]
        recalls.append(len(hits) / min(k, len(truth)))
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(truth)) + 1))
        ndcgs.append(sum(1 / math.log2(rank + 1) for rank in hits) / ideal)
        shown |= set(best)
    return sum(recalls) / len(recalls), sum(ndcgs) / len(ndcgs), len(shown) / len(scores[0])


@given(st.data(), st.integers(1, 9))
def test_the_figures_are_those_of_the_formulas_worked_out_rank_by_rank(data, k):
    scores = data.draw(st.lists(st.lists(st.integers(-3, 3), min_size=6, max_size=6), min_size=3, max_size=3))
    cells = data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), min_size=1, unique=True))
    cut = data.draw(st.integers(0, len(cells) - 1))
    metrics = evaluate(scored(scores), Split(pairs(*cells[:cut]), pairs(*cells[cut:])), 6, k)

    expected = slow_figures(scores, set(cells[:cut]), set(cells[cut:]), k)
    assert expected == pytest.approx((metrics.recall, metrics.ndcg, metrics.coverage))
