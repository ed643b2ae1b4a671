"""What stands last in a scorer: steps that change no order go behind the ranking, all others stay in front of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve_export.graph.monotone_tail import FUNCTIONS, Step, finish, written
from recoserve_export.partial.result import Vectors
from tests.export.partial.graphs import apart, pair_operators

DOT = "p = Mul (u, i)\n d = ReduceSum <keepdims = 1> (p, last)\n"


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
    found = apart(DOT + body, none=np.float32(0), single=np.float32(1))

    assert written(found.tail, "x") == tail
    assert isinstance(found.score, Vectors)
    assert found.score.plain


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
    found = apart(DOT + "s = Tanh (d)\n" + body, none=np.float32(0), low=np.float32(-0.1), high=np.float32(0.1))

    assert found.tail == ()
    assert isinstance(found.score, str)


@pytest.mark.parametrize("body", ["score = Mul (d, minus)", "score = Sub (half, d)", "score = Div (d, minus)"])
def test_a_factor_that_turns_the_order_round_goes_into_the_vectors(body):
    found = apart(DOT + body)

    assert isinstance(found.score, Vectors)
    assert not found.score.plain


def test_a_constant_left_over_goes_behind_the_ranking():
    found = apart(DOT + "s = Tanh (d)\n score = Sub (half, s)")

    assert written(found.tail, "x") == "(x +0.5)"
    assert pair_operators(found) == ["Gemm", "Tanh", "Mul"]


def test_whole_numbers_have_no_ending():
    body = "h = Mul (user, item)\n score = Div (h, two)"

    assert apart(body, two=np.array(2)).tail == ()


@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(st.floats(-700, 700), min_size=2, max_size=50))
def test_no_function_behind_the_ranking_changes_an_order(name, values):
    values = np.sort(np.array(values))

    assert (np.diff(finish((Step(name), Step("Mul", 3.0), Step("Add", -1.0)), values)) >= 0).all()
