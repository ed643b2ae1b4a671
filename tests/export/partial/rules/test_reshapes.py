"""Reshapes and operators that return their input."""

import numpy as np
import pytest

from tests.export.partial.graphs import SUM, pair_operators, split, uses_own_embeddings


@pytest.mark.parametrize("body", ["t = Reshape (s, target)", "t = Unsqueeze (s, one)", "t = Flatten <axis = 1> (s)"])
def test_a_reshaped_sum_is_a_sum_of_reshaped_terms(body):
    result = split(
        f"{SUM} {body}\n f = Flatten <axis = 1> (t)\n r = Relu (f)\n score = MatMul (r, column)", target=np.array([0, 2, -1])
    )

    assert "Reshape" not in pair_operators(result)[:1]
    assert pair_operators(result) == ["Add", "Relu", "Gemm"]


def test_a_reshape_that_mixes_the_operands_of_a_concatenation_runs_for_every_pair():
    stacked = "a = Unsqueeze (u, two)\n b = Unsqueeze (i, two)\n c = Concat <axis = 2> (a, b)\n"
    result = split(
        stacked + "f = Flatten <axis = 1> (c)\n h = MatMul (f, wide)\n r = Relu (h)\n score = MatMul (r, three)", two=np.array([2])
    )

    assert "Concat" in pair_operators(result)


def test_a_reshape_by_the_size_of_the_batch_fits_any_batch():
    count = "n = Shape <end = 1> (u)\n m = Concat <axis = 0> (n, sizes)\n"
    result = split(
        count + f"{SUM} t = Reshape (s, m)\n r = Relu (t)\n f = Flatten (r)\n score = MatMul (f, column)", sizes=np.array([2, 2])
    )

    assert "Shape" not in pair_operators(result)


@pytest.mark.parametrize("side", ["u", "i"])
def test_squeeze_without_axes_never_squeezes_the_axis_of_pairs(side):
    result = split(
        f"a = Unsqueeze ({side}, one)\n b = Squeeze (a)\n {SUM} t = Add (s, b)\n r = Relu (t)\n score = MatMul (r, column)"
    )

    assert pair_operators(result) == ["Add", "Relu", "Gemm"]


def test_identity_and_dropout_return_their_input():
    assert uses_own_embeddings(split("p = Mul (u, i)\n q = Dropout (p)\n t = Identity (q)\n score = ReduceSum (t, last)"))
