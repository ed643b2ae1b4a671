"""The last operators of a scorer: those that change no order run after the ranking, all others before it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve_export.graph import monotone_tail, operators
from recoserve_export.graph.monotone_tail import TailStep, tail_formula
from tests.export.partial.graphs import DOT, is_dot_product, pair_operators, split, uses_own_embeddings

INCREASING = sorted(operators.names(lambda row: row.increasing_function is not None))


@pytest.mark.parametrize(
    ("body", "tail"),
    [
        ("score = Sigmoid (d)", "sigmoid(x)"),
        ("score = Tanh (d)", "tanh(x)"),
        ("score = Exp (d)", "exp(x)"),
        ("s = Sigmoid (d)\n score = Mul (half, s)", "0.5 * sigmoid(x)"),
        ("s = Sigmoid (d)\n score = Div (s, half)", "2 * sigmoid(x)"),
        ("s = Sigmoid (d)\n score = Add (minus, s)", "(sigmoid(x) -2)"),
        ("s = Sigmoid (d)\n score = Sub (s, half)", "(sigmoid(x) -0.5)"),
        (
            "a = Mul (d, half)\n b = Add (a, half)\n s = Sigmoid (b)\n f = Squeeze (s)\n score = Identity (f)",
            "sigmoid((0.5 * x +0.5))",
        ),
        ("a = Add (d, none)\n score = Mul (a, single)", "x"),
    ],
)
def test_strictly_increasing_steps_go_behind_the_ranking(body, tail):
    result = split(DOT + body, none=np.float32(0), single=np.float32(1))

    assert tail_formula(result.tail, "x") == tail
    assert uses_own_embeddings(result)


@pytest.mark.parametrize(
    "body",
    [
        "score = Mul (s, minus)",
        "score = Div (half, s)",
        "score = Div (s, minus)",
        "score = Mul (s, none)",
        "score = Clip (s, low, high)",
        "score = HardSigmoid (s)",
        "score = Relu (s)",
        "score = Neg (s)",
        "score = Max (s, half)",
        "score = Round (s)",
        "score = Mul (s, s)",
    ],
)
def test_steps_that_may_change_the_order_stay_in_front_of_it(body):
    result = split(DOT + "s = Tanh (d)\n" + body, none=np.float32(0), low=np.float32(-0.1), high=np.float32(0.1))

    assert result.tail == ()
    assert isinstance(result.score, str)


@pytest.mark.parametrize("body", ["score = Mul (d, minus)", "score = Sub (half, d)", "score = Div (d, minus)"])
def test_a_factor_that_turns_the_order_round_goes_into_the_vectors(body):
    result = split(DOT + body)

    assert is_dot_product(result)
    assert not uses_own_embeddings(result)


def test_a_constant_term_of_the_score_goes_behind_the_ranking():
    result = split(DOT + "s = Tanh (d)\n score = Sub (half, s)")

    assert tail_formula(result.tail, "x") == "(x +0.5)"
    assert pair_operators(result) == ["Gemm", "Tanh", "Mul"]


def test_integers_have_no_tail():
    body = "h = Mul (user, item)\n score = Div (h, two)"

    assert split(body, two=np.array(2)).tail == ()


@given(
    st.sampled_from(sorted(operators.names(lambda row: row.increasing_function is not None))),
    st.lists(st.floats(-700, 700), min_size=2, max_size=50),
)
def test_no_function_behind_the_ranking_changes_an_order(name, values):
    values = np.sort(np.array(values))

    assert (np.diff(monotone_tail.apply_tail((TailStep(name), TailStep("Mul", 3.0), TailStep("Add", -1.0)), values)) >= 0).all()
