"""The transposed program of pairs: it computes the same scores, or isn't made where the program can't be transposed."""

import numpy as np
import onnx.parser
import pytest

from recoserve_export.graph.program import Program
from recoserve_export.partial.values import ITEM, USER, SideValue
from recoserve_export.write.transposed import transpose

ITEMS, WIDTH = 7, 3
RNG = np.random.default_rng(0)
CONSTANTS = {
    "square": RNG.normal(size=(WIDTH, WIDTH)).astype(np.float32),
    "last": RNG.normal(size=(WIDTH, 1)).astype(np.float32),
    "wide": RNG.normal(size=(2 * WIDTH, 1)).astype(np.float32),
    "bias": RNG.normal(size=WIDTH).astype(np.float32),
    "half": np.array(0.5, np.float32),
    "flat": np.array([-1]),
    "axis": np.array([1]),
}
VALUES = {"u": RNG.normal(size=(1, WIDTH)).astype(np.float32), "i": RNG.normal(size=(ITEMS, WIDTH)).astype(np.float32)}
PAIR_INPUTS = {"u": SideValue(USER, "u", (WIDTH,)), "i": SideValue(ITEM, "i", (WIDTH,))}


def nodes(body):
    return list(onnx.parser.parse_graph(f"g (float[N] u) => (float[N] score) {{ {body} }}").node)


def scores(program, constants, values):
    dtypes = {name: value.dtype for name, value in values.items()}
    return Program(program, constants, dtypes, ["score"], 20).run(values)[0].reshape(-1)


@pytest.mark.parametrize(
    "body",
    [
        "a = Add (i, u)\n b = Relu (a)\n score = Gemm <transA = 1, transB = 1> (last, b)",
        "a = Add (u, i)\n b = Gemm (a, square, bias)\n c = Tanh (b)\n score = MatMul (c, last)",
        "a = Mul (i, u)\n b = Gemm <transB = 1> (a, square)\n c = Sub (b, bias)\n d = Clip (c, , half)\n score = MatMul (d, last)",
        "a = Add (i, u)\n c = Concat <axis = 1> (a, i)\n score = MatMul (c, wide)",
        "p = Gemm <transB = 1> (i, u)\n q = Mul (p, half)\n score = Reshape (q, flat)",
    ],
)
def test_a_transposed_program_computes_the_same_scores(body):
    """A user's value is a column beside items in columns, and every weight is transposed to fit."""
    program, turned_constants = transpose(nodes(body), "score", PAIR_INPUTS, CONSTANTS)

    expected = scores(nodes(body), CONSTANTS, VALUES)
    transposed = scores(program, turned_constants, {name: value.T.copy() for name, value in VALUES.items()})
    assert expected.shape == (ITEMS,)
    np.testing.assert_allclose(transposed, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "body",
    [
        "a = Add (i, u)\n b = Softmax <axis = 1> (a)\n score = MatMul (b, last)",
        "a = Add (i, u)\n score = ReduceSum <keepdims = 0> (a, axis)",
        "c = Concat <axis = 1> (u, i)\n score = MatMul (c, wide)",
        "a = Add (i, u)\n score = Identity (a)",
    ],
)
def test_a_program_that_reduces_along_a_row_is_not_transposed(body):
    """Nor is one in which a user's row would have to be repeated, or whose score is more than one number."""
    assert transpose(nodes(body), "score", PAIR_INPUTS, CONSTANTS) is None


def test_a_program_with_rows_of_two_dimensions_is_not_transposed():
    pair_inputs = {**PAIR_INPUTS, "i": SideValue(ITEM, "i", (2, WIDTH))}

    assert transpose(nodes("a = Add (i, u)\n score = MatMul (a, last)"), "score", pair_inputs, CONSTANTS) is None
