"""The program of pairs with items in columns: what can be turned is, and says the same; what can't stays as it was."""

import numpy as np
import onnx.parser
import pytest

from recoserve_export.graph.program import Program
from recoserve_export.partial.values import ITEM, USER, One
from recoserve_export.write.transposed import in_columns

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
CROSSING = {"u": One(USER, "u", (WIDTH,)), "i": One(ITEM, "i", (WIDTH,))}


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
def test_a_program_of_rows_says_the_same_in_columns(body):
    """A user's column beside items in columns, every weight turned to fit."""
    made, turned = in_columns(nodes(body), "score", CROSSING, CONSTANTS)

    expected = scores(nodes(body), CONSTANTS, VALUES)
    found = scores(made, turned, {name: value.T.copy() for name, value in VALUES.items()})
    assert expected.shape == (ITEMS,)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "body",
    [
        "a = Add (i, u)\n b = Softmax <axis = 1> (a)\n score = MatMul (b, last)",
        "a = Add (i, u)\n score = ReduceSum <keepdims = 0> (a, axis)",
        "c = Concat <axis = 1> (u, i)\n score = MatMul (c, wide)",
        "a = Add (i, u)\n score = Identity (a)",
    ],
)
def test_what_looks_along_a_row_stays_in_rows(body):
    """So does a user's row that would have to be repeated, and a score that is more than one number."""
    assert in_columns(nodes(body), "score", CROSSING, CONSTANTS) is None


def test_values_of_two_dimensions_stay_as_they_are():
    crossing = {**CROSSING, "i": One(ITEM, "i", (2, WIDTH))}

    assert in_columns(nodes("a = Add (i, u)\n score = MatMul (a, last)"), "score", crossing, CONSTANTS) is None
