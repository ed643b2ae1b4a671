"""ReduceSum and ReduceMean: the sum of a product is a dot product, the sum of a sum is a sum."""

import numpy as np
import pytest

from tests.export.partial.graphs import CONCAT, SUM, is_dot_product, pair_operators, split, uses_own_embeddings


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axis", [-1, 1])
def test_the_sum_and_the_mean_of_a_product_are_dot_products(op, keepdims, axis):
    assert uses_own_embeddings(split(f"p = Mul (u, i)\n score = {op} <keepdims = {keepdims}> (p, axis)", axis=np.array([axis])))


def test_the_sum_of_a_product_of_longer_rows_is_a_dot_product():
    body = "a = Unsqueeze (u, one)\n b = Unsqueeze (i, one)\n p = Mul (a, b)\n score = ReduceSum <keepdims = 0> (p, both)"

    assert uses_own_embeddings(split(body, both=np.array([1, -1])))


@pytest.mark.parametrize("body", [SUM + "score = ReduceSum (s, last)", CONCAT + "score = ReduceSum (c, last)"])
def test_the_sum_of_a_sum_or_of_a_concatenation_is_a_sum_of_both_sides(body):
    assert is_dot_product(split(body))


def test_the_sum_over_stacked_terms_is_their_sum():
    stacked = "p = Mul (u, i)\n a = Unsqueeze (u, one)\n b = Unsqueeze (p, one)\n c = Concat <axis = 1> (a, b)\n"
    result = split(stacked + "t = ReduceSum <keepdims = 0> (c, one)\n score = MatMul (t, column)")

    assert is_dot_product(result)


def test_the_sum_of_a_pair_value_is_a_layer_that_takes_up_factors():
    result = split("t = Sub (u, i)\n q = Pow (t, two)\n h = Mul (q, half)\n score = ReduceSum (h, last)", two=np.float32(2))

    assert pair_operators(result) == ["Add", "Pow", "Gemm"]


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceL2"])
def test_other_reductions_run_for_every_pair(op):
    assert ["Add", op] == pair_operators(split(f"{SUM} score = {op} (s, last)"))
