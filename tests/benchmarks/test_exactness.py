"""The check of all rankings: a float64 brute force, and which rankings are wrong by it."""

import numpy as np
import pytest

from recoserve_bench.retrieval.exactness import best_scores, check

K = 5


@pytest.fixture
def tables():
    rng = np.random.default_rng(3)
    return rng.standard_normal((40, 16), np.float32), rng.standard_normal((1000, 16), np.float32)


def brute_force(users, items, k=K):
    scores = users.astype(float) @ items.T.astype(float)
    rows = np.argsort(-scores, axis=1)[:, :k]
    return rows, np.take_along_axis(scores, rows, axis=1)


@pytest.mark.parametrize("chunk", [3, 64, 1000, 5000])
def test_the_reference_is_a_full_float64_scan_whatever_the_chunk(tables, chunk):
    assert np.allclose(best_scores(*tables, K, chunk), brute_force(*tables)[1], rtol=0, atol=1e-12)


def test_the_reference_finds_items_that_float32_cannot_tell_apart(tables):
    """A thousand copies of a direction that differ in the last bits: float32's order among them is no order."""
    users, items = tables
    close = items[:1] * (1 + np.random.default_rng(0).integers(-3, 4, (1000, 1)) * np.float32(2**-23))

    assert np.allclose(best_scores(users, close, K, 100), brute_force(users, close)[1], rtol=0, atol=1e-12)


def test_all_items_of_a_table_are_best_where_k_is_larger(tables):
    users, items = tables

    assert best_scores(users, items[:3], K).shape == (40, 3)


def test_exact_rankings_pass(tables):
    rows, scores = brute_force(*tables)
    verdict = check(*tables, rows, scores.astype(np.float32), scores)

    assert (verdict.users, verdict.wrong, verdict.recall) == (40, 0, 1.0)
    assert verdict.score_error < 1e-5


def damaged(rows, kind):
    if kind == "an item from further down":
        rows[7, -1] = rows[7, -1] = 999 if 999 not in rows[7] else 998
    elif kind == "an item twice":
        rows[7, 1] = rows[7, 0]
    elif kind == "the wrong order":
        rows[7] = rows[7, ::-1]
    elif kind == "an item that is missing":
        rows[7, -1] = -1
    elif kind == "an item beyond the table":
        rows[7, 0] = 1000
    return rows


KINDS = ["an item from further down", "an item twice", "the wrong order", "an item that is missing", "an item beyond the table"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_ranking_alone_is_wrong(tables, kind):
    rows, scores = brute_force(*tables)
    verdict = check(*tables, damaged(rows, kind), scores.astype(np.float32), scores)

    assert verdict.wrong == 1
    assert verdict.recall == (1.0 if kind == "the wrong order" else 1 - 1 / (40 * K))


def test_rankings_of_another_length_are_all_wrong(tables):
    rows, scores = brute_force(*tables)

    assert check(*tables, rows[:, :-1], scores[:, :-1], scores).wrong == 40


def test_equal_scores_may_come_in_either_order(tables):
    users, items = tables
    twins = np.concatenate([items, items])
    rows, scores = brute_force(users, twins)

    assert check(users, twins, (rows + 1000) % 2000, scores, scores).wrong == 0
