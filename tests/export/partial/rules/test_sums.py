"""Add, Sum, Sub and Neg: terms of both sides stay terms."""

import pytest

from tests.export.partial.graphs import DOT, SUM, is_dot_product, pair_operators, split, uses_own_embeddings


@pytest.mark.parametrize(
    "body",
    [
        DOT
        + "bu = Gather (of_user, user)\n bi = Gather (of_item, item)\n e = Add (d, bu)\n f = Add (e, bi)\n score = Add (f, half)",
        DOT + "bi = Gather (of_item, item)\n score = Add (bi, d)",
        DOT + "score = Sum (d, d, half)",
    ],
)
def test_add_takes_biases_into_the_vectors(body):
    result = split(body)

    assert is_dot_product(result)
    assert not uses_own_embeddings(result)


def test_a_residual_connection_stays_on_its_side():
    assert uses_own_embeddings(split("w = MatMul (u, square)\n t = Add (u, w)\n p = Mul (t, i)\n score = ReduceSum (p, last)"))


def test_a_constant_that_is_added_joins_a_side():
    result = split(SUM + "t = Add (s, row)\n r = Relu (t)\n score = MatMul (r, column)")

    assert pair_operators(result) == ["Add", "Relu", "Gemm"]


@pytest.mark.parametrize("body", ["t = Sub (s, row)", "t = Sub (row, s)", "t = Neg (s)", "t = Mul (s, row)", "t = Div (s, row)"])
def test_constants_before_and_after_a_sum_go_to_its_terms(body):
    result = split(f"{SUM} {body}\n r = Relu (t)\n score = MatMul (r, column)")

    assert pair_operators(result) == ["Add", "Relu", "Gemm"]


def test_a_difference_of_both_sides_is_a_sum_with_one_negated():
    result = split("t = Sub (u, i)\n r = Relu (t)\n score = MatMul (r, column)")

    assert pair_operators(result) == ["Add", "Relu", "Gemm"]
