"""Functions of one number: applied to each operand of a concatenation."""

import numpy as np
import pytest

from tests.export.partial.graphs import CONCAT, pair_operators, split


@pytest.mark.parametrize(
    "body", ["t = Relu (c)", "t = Pow (c, exponent)", "t = Clip (c, low, high)", "t = Tanh (c)", "t = Cast <to = 1> (c)"]
)
def test_a_function_of_one_number_is_applied_to_each_operand(body):
    constants = {"exponent": np.float32(2), "low": np.float32(-0.5), "high": np.float32(0.5)}
    result = split(f"{CONCAT} {body}\n h = MatMul (t, wide)\n r = Relu (h)\n score = MatMul (r, three)", **constants)

    assert pair_operators(result) == ["Add", "Relu", "Gemm"]
