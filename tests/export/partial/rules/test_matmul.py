"""MatMul, Gemm and Einsum: a linear layer goes to both sides, a row by a column is a dot product."""

import numpy as np
import pytest

from tests.export.partial.graphs import CONCAT, DIM, RELU_OF_SUM, is_dot_product, pair_operators, split, table, uses_own_embeddings


@pytest.mark.parametrize("weight", ["column", "line"])
def test_matmul_of_a_product_with_a_column_is_a_weighted_dot_product(weight):
    result = split(f"p = Mul (u, i)\n score = MatMul (p, {weight})", line=table(DIM, 1, 3)[:, 0])

    assert is_dot_product(result)
    assert not uses_own_embeddings(result)


@pytest.mark.parametrize(
    "body",
    [
        "a = Unsqueeze (u, one)\n b = Unsqueeze (i, two)\n m = MatMul (a, b)\n score = Squeeze (m)",
        "a = Unsqueeze (i, one)\n b = Unsqueeze (u, two)\n m = MatMul (a, b)\n score = Flatten <axis = 1> (m)",
        "a = Unsqueeze (u, one)\n b = Unsqueeze (i, one)\n t = Transpose <perm = [0, 2, 1]> (b)\n score = MatMul (a, t)",
    ],
)
def test_matmul_of_a_row_and_a_column_is_a_dot_product(body):
    assert uses_own_embeddings(split(body, two=np.array([2])))


def test_an_outer_product_runs_for_every_pair():
    result = split(
        "a = Unsqueeze (u, two)\n b = Unsqueeze (i, one)\n m = MatMul (a, b)\n f = Flatten (m)\n score = MatMul (f, all)",
        two=np.array([2]),
        all=table(16, 1, 0),
    )

    assert "MatMul" in pair_operators(result)


@pytest.mark.parametrize("bias", [table(3, 1, 1)[:, 0], table(1, 3, 1), np.array(0.5, np.float32)], ids=["n", "1n", "scalar"])
@pytest.mark.parametrize("turned", [0, 1])
def test_gemm_goes_to_both_sides_with_its_factors_and_bias(bias, turned):
    weight = table(2 * DIM, 3, 0).T if turned else table(2 * DIM, 3, 0)
    gemm = f"h = Gemm <alpha = 0.5, beta = -2.0, transB = {turned}> (c, weight, bias)\n"
    result = split(CONCAT + gemm + "r = Relu (h)\n score = MatMul (r, three)", weight=weight, bias=bias)

    assert pair_operators(result) == ["Add", "Relu", "Gemm"]


def test_gemm_of_a_pair_value_stays_one_operator():
    result = split(RELU_OF_SUM + "h = Gemm (r, square, row)\n r2 = Relu (h)\n score = MatMul (r2, column)")

    assert pair_operators(result) == ["Add", "Relu", "Gemm", "Relu", "Gemm"]


def test_matmul_of_a_pair_value_and_its_bias_become_one_operator():
    result = split(RELU_OF_SUM + "m = MatMul (r, square)\n h = Add (m, row)\n r2 = Relu (h)\n score = MatMul (r2, column)")

    assert pair_operators(result) == ["Add", "Relu", "Gemm", "Relu", "Gemm"]


@pytest.mark.parametrize("equation", ["bd,bd->b", " bd , bd -> b", "bij,bij->b", "bij,bkj->bik", "bij,blj->bil"])
def test_einsum_of_two_rows_is_a_dot_product(equation):
    longer = "a = Unsqueeze (u, one)\n b = Unsqueeze (i, one)\n" if "j" in equation else "a = Identity (u)\n b = Identity (i)\n"

    assert uses_own_embeddings(split(f'{longer} score = Einsum <equation = "{equation}"> (a, b)'))


def test_einsum_of_three_rows_runs_for_every_pair():
    assert pair_operators(split('score = Einsum <equation = "bd,bd,bd->b"> (u, i, g)'))[-1] == "Einsum"
