"""Mul and Div: factors go to a side's vectors, and lengths that are divided by too."""

import numpy as np
import pytest

from tests.export.partial.graphs import DOT, SUM, is_dot_product, pair_operators, split, uses_own_embeddings


@pytest.mark.parametrize(
    "body",
    ["score = Sub (d, half)", "score = Sub (half, d)", "score = Mul (d, minus)", "score = Div (d, minus)", "score = Neg (d)"],
)
def test_constants_around_a_dot_product_leave_it_one(body):
    assert is_dot_product(split(DOT + body))


def test_division_by_a_pair_value_runs_for_every_pair():
    result = split(DOT + "e = Exp (d)\n score = Div (half, e)")

    assert pair_operators(result) == ["Gemm", "Exp", "Div"]


def test_a_positive_factor_leaves_the_vectors_the_models_own():
    assert uses_own_embeddings(split(DOT + "score = Mul (half, d)"))
    assert not uses_own_embeddings(split(DOT + "t = Mul (d, minus)\n score = Add (t, half)"))


@pytest.mark.parametrize("body", ["w = Mul (p, u)", "w = Mul (i, p)", "w = Mul (p, p)", "w = Mul (p, row)", "w = Div (p, t)"])
def test_mul_of_a_product_stays_a_product(body):
    result = split(f"x = Exp (i)\n t = Add (x, half)\n p = Mul (u, i)\n {body}\n score = ReduceSum (w, last)")

    assert is_dot_product(result)


def test_weighted_vectors_are_not_the_models_own():
    assert not uses_own_embeddings(split("p = Mul (u, i)\n w = Mul (p, row)\n score = ReduceSum (w, last)"))


def test_mul_of_a_sum_by_one_side_is_a_sum_of_products():
    assert is_dot_product(split(SUM + "t = Add (s, row)\n w = Mul (t, i)\n score = ReduceSum (w, last)"))


def test_mul_of_a_dot_product_by_a_number_of_one_side():
    assert is_dot_product(split(DOT + "b = Gather (of_item, item)\n score = Mul (b, d)"))


@pytest.mark.parametrize("together", [True, False])
def test_div_by_both_lengths_is_a_cosine(together):
    lengths = "a = ReduceL2 (u, last)\n b = ReduceL2 (i, last)\n a1 = Max (a, tiny)\n b1 = Max (b, tiny)\n"
    ratio = "n = Mul (a1, b1)\n score = Div (d, n)" if together else "h = Div (d, a1)\n score = Div (h, b1)"

    assert is_dot_product(split(lengths + DOT + ratio, tiny=np.array(1e-8, np.float32)))


def test_a_bound_on_the_product_of_both_lengths_runs_for_every_pair():
    lengths = "a = ReduceL2 (u, last)\n b = ReduceL2 (i, last)\n m = Mul (a, b)\n n = Max (m, half)\n"
    result = split(lengths + DOT + "score = Div (d, n)")

    assert {"Max", "Div"} <= set(pair_operators(result))
