"""BatchNormalization: a scale and a shift, folded into the layers beside it."""

import pytest

from tests.export.partial.graphs import CONCAT, DIM, RELU_OF_SUM, pair_operators, split, table


def normalisation(size):
    return {
        name: table(size, 1, at)[:, 0] + (2 if name == "variance" else 0)
        for at, name in enumerate(("gamma", "beta", "mean", "variance"))
    }


@pytest.mark.parametrize(
    ("body", "size"),
    [
        (CONCAT + "n = BatchNormalization (c, gamma, beta, mean, variance)\n h = MatMul (n, wide)\n", 2 * DIM),
        (CONCAT + "m = MatMul (c, wide)\n h = BatchNormalization (m, gamma, beta, mean, variance)\n", 3),
    ],
)
def test_batch_normalization_is_folded_into_both_sides(body, size):
    result = split(body + "r = Relu (h)\n score = MatMul (r, three)", **normalisation(size))

    assert pair_operators(result) == ["Add", "Relu", "Gemm"]


@pytest.mark.parametrize("before", [True, False])
def test_batch_normalization_of_a_pair_value_is_folded_into_the_layer_beside_it(before):
    norm = "n = BatchNormalization (r, gamma, beta, mean, variance)\n h = MatMul (n, square)\n"
    layer = "m = MatMul (r, square)\n h = BatchNormalization (m, gamma, beta, mean, variance)\n"
    result = split(RELU_OF_SUM + (norm if before else layer) + "r2 = Relu (h)\n score = MatMul (r2, column)", **normalisation(DIM))

    assert pair_operators(result) == ["Add", "Relu", "Gemm", "Relu", "Gemm"]
