"""Concat, Slice and Split: operands side by side stay apart, and so do slices of them."""

import numpy as np
import pytest

from tests.export.partial.graphs import CONCAT, DIM, RELU_OF_SUM, is_dot_product, pair_operators, split, table


@pytest.mark.parametrize(
    "body",
    [
        CONCAT + "h = MatMul (c, wide)\n r = Relu (h)\n score = MatMul (r, three)",
        "c = Concat <axis = 1> (u, g, i)\n h = MatMul (c, long)\n r = Relu (h)\n score = MatMul (r, three)",
        CONCAT + "e = Concat <axis = 1> (c, g)\n h = MatMul (e, long)\n r = Relu (h)\n score = MatMul (r, three)",
        RELU_OF_SUM + "c = Concat <axis = 1> (u, i)\n h = MatMul (c, wide)\n r2 = Relu (h)\n score = MatMul (r2, three)",
    ],
)
def test_a_layer_over_a_concatenation_is_a_sum_of_two_layers(body):
    result = split(body, long=table(3 * DIM, 3, 0))

    assert pair_operators(result) == ["Add", "Relu", "Gemm"]


def test_stacked_rows_are_kept_apart_along_their_axis():
    stacked = "a = Unsqueeze (u, one)\n b = Unsqueeze (i, one)\n c = Concat <axis = 1> (a, b)\n"
    result = split(stacked + "f = Flatten <axis = 1> (c)\n h = MatMul (f, wide)\n r = Relu (h)\n score = MatMul (r, three)")

    assert pair_operators(result) == ["Add", "Relu", "Gemm"]


def test_a_concatenation_of_batches_is_not_separable():
    with pytest.raises(Exception, match="Concat gives"):
        split("c = Concat <axis = 0> (u, i)\n score = MatMul (c, column)")


def test_a_product_beside_a_pair_value_stays_a_product():
    body = RELU_OF_SUM + "p = Mul (u, i)\n c = Concat <axis = 1> (p, r)\n score = MatMul (c, tall)"
    result = split(body, tall=table(2 * DIM, 1, 0))

    assert sorted(["Add", "Relu", "MatMul", "Gemm", "Add"]) == sorted(pair_operators(result))


def test_a_repeated_constant_may_stand_beside_others():
    ones = "n = Shape <end = 1> (user)\n m = Concat <axis = 0> (n, one)\n k = ConstantOfShape <value = float[1] {0.5}> (m)\n"
    result = split(
        ones + "c = Concat <axis = 1> (u, k, i)\n h = MatMul (c, weight)\n score = Sigmoid (h)", weight=table(2 * DIM + 1, 1, 0)
    )

    assert "Concat" not in pair_operators(result)[2:]


@pytest.mark.parametrize(
    ("body", "width"),
    [
        ("x = Slice (c, low, high, last)", 5),
        ("x, y = Split <axis = 1> (c, sizes)", 6),
        ("w, x, y = Split <axis = -1, num_outputs = 3> (c)", 3),
    ],
)
def test_slice_and_split_take_columns_of_the_operands(body, width):
    constants = {"low": np.array([1]), "high": np.array([-2]), "sizes": np.array([6, 2])}
    result = split(f"{CONCAT} {body}\n h = MatMul (x, weight)\n score = Sigmoid (h)", weight=table(width, 1, 0), **constants)

    assert is_dot_product(result)


def test_a_slice_across_a_product_and_a_pair_value_slices_both():
    body = (
        RELU_OF_SUM + "p = Mul (u, i)\n c = Concat <axis = 1> (p, r)\n x = Slice (c, low, high, last)\n score = ReduceSum (x, last)"
    )
    result = split(body, low=np.array([1]), high=np.array([6]))

    assert sorted(["Add", "Relu", "Slice", "MatMul", "Gemm", "Add"]) == sorted(pair_operators(result))


def test_a_slice_with_a_stride_runs_for_every_pair():
    body = CONCAT + "x = Slice (c, low, high, last, stride)\n r = Relu (x)\n score = MatMul (r, column)"

    assert "Slice" in pair_operators(split(body, low=np.array([0]), high=np.array([8]), stride=np.array([2])))
