"""Each rule of partial evaluation: what is left for pairs behind it, and that every score stays what it was."""

import numpy as np
import pytest

from recoserve_export.partial.result import Vectors
from tests.export.partial.graphs import DIM, GENRES, ITEMS, USERS, apart, pair_operators, table

DOT = "p = Mul (u, i)\n d = ReduceSum <keepdims = 1> (p, last)\n"
BESIDE = "c = Concat <axis = -1> (u, i)\n"
SUM = "s = Add (u, i)\n"
BENT = SUM + "r = Relu (s)\n"  # nothing better than a row for each pair is known of r


def last_operator(found):
    return pair_operators(found)[-1]


def is_plain(found):
    return isinstance(found.score, Vectors) and found.score.plain


@pytest.mark.parametrize(
    "body",
    [
        BESIDE + "h = MatMul (c, wide)\n r = Relu (h)\n score = MatMul (r, three)",
        "c = Concat <axis = 1> (u, g, i)\n h = MatMul (c, long)\n r = Relu (h)\n score = MatMul (r, three)",
        BESIDE + "e = Concat <axis = 1> (c, g)\n h = MatMul (e, long)\n r = Relu (h)\n score = MatMul (r, three)",
        BENT + "c = Concat <axis = 1> (u, i)\n h = MatMul (c, wide)\n r2 = Relu (h)\n score = MatMul (r2, three)",
    ],
)
def test_concat_before_a_layer_leaves_a_sum_of_both_halves(body):
    found = apart(body, long=table(3 * DIM, 3, 0))

    assert pair_operators(found) == ["Add", "Relu", "Gemm"]


def test_concat_of_stacked_rows_is_split_along_their_axis():
    stacked = "a = Unsqueeze (u, one)\n b = Unsqueeze (i, one)\n c = Concat <axis = 1> (a, b)\n"
    found = apart(stacked + "f = Flatten <axis = 1> (c)\n h = MatMul (f, wide)\n r = Relu (h)\n score = MatMul (r, three)")

    assert pair_operators(found) == ["Add", "Relu", "Gemm"]


def test_concat_along_the_axis_of_pairs_is_no_scorer_of_pairs():
    with pytest.raises(Exception, match="Concat gives"):
        apart("c = Concat <axis = 0> (u, i)\n score = MatMul (c, column)")


def test_concat_behind_the_join_keeps_the_product_apart():
    body = BENT + "p = Mul (u, i)\n c = Concat <axis = 1> (p, r)\n score = MatMul (c, tall)"
    found = apart(body, tall=table(2 * DIM, 1, 0))

    assert sorted(["Add", "Relu", "MatMul", "Gemm", "Add"]) == sorted(pair_operators(found))


def test_concat_takes_a_row_that_is_the_same_for_every_pair():
    ones = "n = Shape <end = 1> (user)\n m = Concat <axis = 0> (n, one)\n k = ConstantOfShape <value = float[1] {0.5}> (m)\n"
    found = apart(
        ones + "c = Concat <axis = 1> (u, k, i)\n h = MatMul (c, weight)\n score = Sigmoid (h)", weight=table(2 * DIM + 1, 1, 0)
    )

    assert "Concat" not in pair_operators(found)[2:]


@pytest.mark.parametrize("weight", ["column", "line"])
def test_matmul_of_a_product_with_a_column_is_a_weighted_dot_product(weight):
    found = apart(f"p = Mul (u, i)\n score = MatMul (p, {weight})", line=table(DIM, 1, 3)[:, 0])

    assert isinstance(found.score, Vectors)
    assert not found.score.plain


@pytest.mark.parametrize(
    "body",
    [
        "a = Unsqueeze (u, one)\n b = Unsqueeze (i, two)\n m = MatMul (a, b)\n score = Squeeze (m)",
        "a = Unsqueeze (i, one)\n b = Unsqueeze (u, two)\n m = MatMul (a, b)\n score = Flatten <axis = 1> (m)",
        "a = Unsqueeze (u, one)\n b = Unsqueeze (i, one)\n t = Transpose <perm = [0, 2, 1]> (b)\n score = MatMul (a, t)",
    ],
)
def test_matmul_of_a_row_and_a_column_is_a_dot_product(body):
    assert is_plain(apart(body, two=np.array([2])))


def test_matmul_of_a_row_by_a_row_of_many_is_left_for_pairs():
    found = apart(
        "a = Unsqueeze (u, two)\n b = Unsqueeze (i, one)\n m = MatMul (a, b)\n f = Flatten (m)\n score = MatMul (f, all)",
        two=np.array([2]),
        all=table(16, 1, 0),
    )

    assert "MatMul" in pair_operators(found)


@pytest.mark.parametrize("bias", [table(3, 1, 1)[:, 0], table(1, 3, 1), np.array(0.5, np.float32)], ids=["n", "1n", "scalar"])
@pytest.mark.parametrize("turned", [0, 1])
def test_gemm_goes_to_both_sides_with_its_factors_and_bias(bias, turned):
    weight = table(2 * DIM, 3, 0).T if turned else table(2 * DIM, 3, 0)
    gemm = f"h = Gemm <alpha = 0.5, beta = -2.0, transB = {turned}> (c, weight, bias)\n"
    found = apart(BESIDE + gemm + "r = Relu (h)\n score = MatMul (r, three)", weight=weight, bias=bias)

    assert pair_operators(found) == ["Add", "Relu", "Gemm"]


def test_gemm_behind_the_join_stays_one_operator():
    found = apart(BENT + "h = Gemm (r, square, row)\n r2 = Relu (h)\n score = MatMul (r2, column)")

    assert pair_operators(found) == ["Add", "Relu", "Gemm", "Relu", "Gemm"]


def test_matmul_and_a_bias_behind_the_join_become_one_operator():
    found = apart(BENT + "m = MatMul (r, square)\n h = Add (m, row)\n r2 = Relu (h)\n score = MatMul (r2, column)")

    assert pair_operators(found) == ["Add", "Relu", "Gemm", "Relu", "Gemm"]


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
    found = apart(body)

    assert isinstance(found.score, Vectors)
    assert not found.score.plain


def test_add_of_a_residual_stays_on_its_side():
    assert is_plain(apart("w = MatMul (u, square)\n t = Add (u, w)\n p = Mul (t, i)\n score = ReduceSum (p, last)"))


def test_add_of_a_constant_joins_a_side():
    found = apart(SUM + "t = Add (s, row)\n r = Relu (t)\n score = MatMul (r, column)")

    assert pair_operators(found) == ["Add", "Relu", "Gemm"]


@pytest.mark.parametrize("body", ["t = Sub (s, row)", "t = Sub (row, s)", "t = Neg (s)", "t = Mul (s, row)", "t = Div (s, row)"])
def test_constants_on_either_side_of_a_sum_go_to_its_terms(body):
    found = apart(f"{SUM} {body}\n r = Relu (t)\n score = MatMul (r, column)")

    assert pair_operators(found) == ["Add", "Relu", "Gemm"]


@pytest.mark.parametrize(
    "body",
    ["score = Sub (d, half)", "score = Sub (half, d)", "score = Mul (d, minus)", "score = Div (d, minus)", "score = Neg (d)"],
)
def test_constants_around_a_dot_product_leave_it_one(body):
    assert isinstance(apart(DOT + body).score, Vectors)


def test_a_constant_over_a_dot_product_is_left_for_pairs():
    found = apart(DOT + "e = Exp (d)\n score = Div (half, e)")

    assert pair_operators(found) == ["Gemm", "Exp", "Div"]


def test_a_positive_factor_leaves_the_vectors_the_models_own():
    assert is_plain(apart(DOT + "score = Mul (half, d)"))
    assert not is_plain(apart(DOT + "t = Mul (d, minus)\n score = Add (t, half)"))


def test_sub_of_one_side_from_the_other_keeps_which_is_which():
    found = apart("t = Sub (u, i)\n r = Relu (t)\n score = MatMul (r, column)")

    assert pair_operators(found) == ["Add", "Relu", "Gemm"]


@pytest.mark.parametrize("body", ["w = Mul (p, u)", "w = Mul (i, p)", "w = Mul (p, p)", "w = Mul (p, row)", "w = Div (p, t)"])
def test_mul_of_a_product_stays_a_product(body):
    found = apart(f"x = Exp (i)\n t = Add (x, half)\n p = Mul (u, i)\n {body}\n score = ReduceSum (w, last)")

    assert isinstance(found.score, Vectors)


def test_a_weighted_product_has_not_the_models_own_vectors():
    assert not is_plain(apart("p = Mul (u, i)\n w = Mul (p, row)\n score = ReduceSum (w, last)"))


def test_mul_of_a_sum_by_one_side_is_a_sum_of_products():
    assert isinstance(apart(SUM + "t = Add (s, row)\n w = Mul (t, i)\n score = ReduceSum (w, last)").score, Vectors)


def test_mul_of_a_dot_product_by_a_number_of_one_side():
    assert isinstance(apart(DOT + "b = Gather (of_item, item)\n score = Mul (b, d)").score, Vectors)


@pytest.mark.parametrize("together", [True, False])
def test_div_by_both_lengths_is_a_cosine(together):
    lengths = "a = ReduceL2 (u, last)\n b = ReduceL2 (i, last)\n a1 = Max (a, tiny)\n b1 = Max (b, tiny)\n"
    ratio = "n = Mul (a1, b1)\n score = Div (d, n)" if together else "h = Div (d, a1)\n score = Div (h, b1)"

    assert isinstance(apart(lengths + DOT + ratio, tiny=np.array(1e-8, np.float32)).score, Vectors)


def test_a_clamp_on_the_product_of_both_lengths_is_left_for_pairs():
    lengths = "a = ReduceL2 (u, last)\n b = ReduceL2 (i, last)\n m = Mul (a, b)\n n = Max (m, half)\n"
    found = apart(lengths + DOT + "score = Div (d, n)")

    assert {"Max", "Div"} <= set(pair_operators(found))


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axis", [-1, 1])
def test_the_sum_and_the_mean_of_a_product_are_dot_products(op, keepdims, axis):
    assert is_plain(apart(f"p = Mul (u, i)\n score = {op} <keepdims = {keepdims}> (p, axis)", axis=np.array([axis])))


def test_the_sum_of_a_product_of_longer_rows_is_a_dot_product():
    body = "a = Unsqueeze (u, one)\n b = Unsqueeze (i, one)\n p = Mul (a, b)\n score = ReduceSum <keepdims = 0> (p, both)"

    assert is_plain(apart(body, both=np.array([1, -1])))


@pytest.mark.parametrize("body", [SUM + "score = ReduceSum (s, last)", BESIDE + "score = ReduceSum (c, last)"])
def test_the_sum_of_what_is_added_or_beside_is_a_sum_of_both_sides(body):
    assert isinstance(apart(body).score, Vectors)


def test_the_sum_over_stacked_terms_is_their_sum():
    stacked = "p = Mul (u, i)\n a = Unsqueeze (u, one)\n b = Unsqueeze (p, one)\n c = Concat <axis = 1> (a, b)\n"
    found = apart(stacked + "t = ReduceSum <keepdims = 0> (c, one)\n score = MatMul (t, column)")

    assert isinstance(found.score, Vectors)


def test_the_sum_of_rows_is_a_layer_that_takes_up_factors():
    found = apart("t = Sub (u, i)\n q = Pow (t, two)\n h = Mul (q, half)\n score = ReduceSum (h, last)", two=np.float32(2))

    assert pair_operators(found) == ["Add", "Pow", "Gemm"]


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceL2"])
def test_other_reductions_are_left_for_pairs(op):
    assert ["Add", op] == pair_operators(apart(f"{SUM} score = {op} (s, last)"))


@pytest.mark.parametrize("equation", ["bd,bd->b", " bd , bd -> b", "bij,bij->b", "bij,bkj->bik", "bij,blj->bil"])
def test_einsum_of_two_rows_is_a_dot_product(equation):
    longer = "a = Unsqueeze (u, one)\n b = Unsqueeze (i, one)\n" if "j" in equation else "a = Identity (u)\n b = Identity (i)\n"

    assert is_plain(apart(f'{longer} score = Einsum <equation = "{equation}"> (a, b)'))


def test_einsum_of_three_rows_is_left_for_pairs():
    assert last_operator(apart('score = Einsum <equation = "bd,bd,bd->b"> (u, i, g)')) == "Einsum"


@pytest.mark.parametrize("body", ["t = Reshape (s, target)", "t = Unsqueeze (s, one)", "t = Flatten <axis = 1> (s)"])
def test_reshapes_leave_a_sum_a_sum(body):
    found = apart(
        f"{SUM} {body}\n f = Flatten <axis = 1> (t)\n r = Relu (f)\n score = MatMul (r, column)", target=np.array([0, 2, -1])
    )

    assert "Reshape" not in pair_operators(found)[:1]
    assert pair_operators(found) == ["Add", "Relu", "Gemm"]


def test_reshape_of_parts_that_mix_is_left_for_pairs():
    stacked = "a = Unsqueeze (u, two)\n b = Unsqueeze (i, two)\n c = Concat <axis = 2> (a, b)\n"
    found = apart(
        stacked + "f = Flatten <axis = 1> (c)\n h = MatMul (f, wide)\n r = Relu (h)\n score = MatMul (r, three)", two=np.array([2])
    )

    assert "Concat" in pair_operators(found)


def test_reshape_by_the_number_of_pairs_at_hand_holds_for_any_number():
    count = "n = Shape <end = 1> (u)\n m = Concat <axis = 0> (n, rest)\n"
    found = apart(
        count + f"{SUM} t = Reshape (s, m)\n r = Relu (t)\n f = Flatten (r)\n score = MatMul (f, column)", rest=np.array([2, 2])
    )

    assert "Shape" not in pair_operators(found)


@pytest.mark.parametrize("side", ["u", "i"])
def test_squeeze_without_axes_never_takes_the_axis_of_pairs(side):
    found = apart(
        f"a = Unsqueeze ({side}, one)\n b = Squeeze (a)\n {SUM} t = Add (s, b)\n r = Relu (t)\n score = MatMul (r, column)"
    )

    assert pair_operators(found) == ["Add", "Relu", "Gemm"]


@pytest.mark.parametrize(
    ("body", "width"),
    [
        ("x = Slice (c, low, high, last)", 5),
        ("x, y = Split <axis = 1> (c, sizes)", 6),
        ("w, x, y = Split <axis = -1, num_outputs = 3> (c)", 3),
    ],
)
def test_cut_and_split_take_columns_of_what_stands_side_by_side(body, width):
    constants = {"low": np.array([1]), "high": np.array([-2]), "sizes": np.array([6, 2])}
    found = apart(f"{BESIDE} {body}\n h = MatMul (x, weight)\n score = Sigmoid (h)", weight=table(width, 1, 0), **constants)

    assert isinstance(found.score, Vectors)


def test_slices_of_products_and_rows_are_slices_of_what_they_are_made_of():
    body = BENT + "p = Mul (u, i)\n c = Concat <axis = 1> (p, r)\n x = Slice (c, low, high, last)\n score = ReduceSum (x, last)"
    found = apart(body, low=np.array([1]), high=np.array([6]))

    assert sorted(["Add", "Relu", "Slice", "MatMul", "Gemm", "Add"]) == sorted(pair_operators(found))


def test_a_slice_with_a_stride_is_left_for_pairs():
    body = BESIDE + "x = Slice (c, low, high, last, stride)\n r = Relu (x)\n score = MatMul (r, column)"

    assert "Slice" in pair_operators(apart(body, low=np.array([0]), high=np.array([8]), stride=np.array([2])))


def normalisation(size):
    return {
        name: table(size, 1, at)[:, 0] + (2 if name == "variance" else 0)
        for at, name in enumerate(("gamma", "beta", "mean", "variance"))
    }


@pytest.mark.parametrize(
    ("body", "size"),
    [
        (BESIDE + "n = BatchNormalization (c, gamma, beta, mean, variance)\n h = MatMul (n, wide)\n", 2 * DIM),
        (BESIDE + "m = MatMul (c, wide)\n h = BatchNormalization (m, gamma, beta, mean, variance)\n", 3),
    ],
)
def test_batch_normalization_folds_into_both_sides(body, size):
    found = apart(body + "r = Relu (h)\n score = MatMul (r, three)", **normalisation(size))

    assert pair_operators(found) == ["Add", "Relu", "Gemm"]


@pytest.mark.parametrize("before", [True, False])
def test_batch_normalization_behind_the_join_folds_into_the_layer_beside_it(before):
    norm = "n = BatchNormalization (r, gamma, beta, mean, variance)\n h = MatMul (n, square)\n"
    layer = "m = MatMul (r, square)\n h = BatchNormalization (m, gamma, beta, mean, variance)\n"
    found = apart(BENT + (norm if before else layer) + "r2 = Relu (h)\n score = MatMul (r2, column)", **normalisation(DIM))

    assert pair_operators(found) == ["Add", "Relu", "Gemm", "Relu", "Gemm"]


def test_identity_and_dropout_do_nothing():
    assert is_plain(apart("p = Mul (u, i)\n q = Dropout (p)\n t = Identity (q)\n score = ReduceSum (t, last)"))


@pytest.mark.parametrize(
    "body", ["t = Relu (c)", "t = Pow (c, exponent)", "t = Clip (c, low, high)", "t = Tanh (c)", "t = Cast <to = 1> (c)"]
)
def test_an_operator_on_single_numbers_works_on_each_part(body):
    constants = {"exponent": np.float32(2), "low": np.float32(-0.5), "high": np.float32(0.5)}
    found = apart(f"{BESIDE} {body}\n h = MatMul (t, wide)\n r = Relu (h)\n score = MatMul (r, three)", **constants)

    assert pair_operators(found) == ["Add", "Relu", "Gemm"]


@pytest.mark.parametrize("body", ["t = Softmax <axis = -1> (c)", "t = LayerNormalization (c, ones)"])
def test_an_operator_over_both_sides_is_left_for_pairs(body):
    found = apart(f"{BESIDE} {body}\n score = MatMul (t, tall)", tall=table(2 * DIM, 1, 0), ones=np.ones(2 * DIM, np.float32))

    assert ["Concat", "Expand", "Concat", body.split()[2], "Gemm"] == pair_operators(found)


@pytest.mark.parametrize(
    "body", ["t = Max (u, i)", "t = Min (i, u, row)", "m = Greater (u, i)\n t = Where (m, i, row)", "t = Mean (u, i, g)"]
)
def test_other_operators_on_both_sides_are_left_for_pairs_and_need_no_wider_rows(body):
    operators = pair_operators(apart(f"{body}\n r = Relu (t)\n score = MatMul (r, column)"))

    assert "Expand" not in operators


@pytest.mark.parametrize("body", ["t = PRelu (u, i)", "t = PRelu (i, u)", "t = PRelu (s, row)"])
def test_a_slope_of_one_side_meets_the_other_row_by_row(body):
    assert pair_operators(apart(f"{SUM} {body}\n score = MatMul (t, column)"))[-2:] == ["PRelu", "Gemm"]


def test_whole_numbers_divide_as_whole_numbers():
    found = apart(
        "h = Div (item, two)\n j = Gather (halves, h)\n p = Mul (u, j)\n score = ReduceSum (p, last)",
        two=np.array(2),
        halves=table(ITEMS, DIM, 0),
    )

    assert is_plain(found)


def test_whole_numbers_of_both_sides_are_left_for_pairs():
    body = "a = Add (user, item)\n h = Div (a, two)\n j = Gather (halves, h)\n p = Mul (u, j)\n score = ReduceSum (p, last)"
    found = apart(body, two=np.array(2), halves=table(USERS + ITEMS, DIM, 0))

    assert {"Add", "Div", "Gather"} <= set(pair_operators(found))


@pytest.mark.parametrize(
    "body",
    [
        "a = Reshape (i, target)\n b = Transpose <perm = [0, 2, 1]> (a)\n t = Flatten <axis = 1> (b)",
        "b = Gather (of_item, item)\n n = Shape <end = 1> (item)\n m = Concat <axis = 0> (n, width)\n t = Expand (b, m)",
        "t = LayerNormalization (i, row)",
        "t = Softmax <axis = -1> (i)",
        "j = Gather (other, item)\n t = Gather (items, j)",
    ],
)
def test_whatever_happens_on_one_side_stays_there(body):
    constants = {"target": np.array([0, 2, 2]), "width": np.array([DIM]), "other": np.arange(ITEMS)[::-1].copy()}

    assert is_plain(apart(f"{body}\n p = Mul (u, t)\n score = ReduceSum (p, last)", **constants))


def test_an_id_may_be_used_twice():
    product = "h = Gather (others, item)\n s = Mul (i, h)\n p = Mul (u, s)\n d = ReduceSum (p, last)\n"

    assert isinstance(apart(product + "b = MatMul (h, column)\n score = Add (d, b)", others=table(ITEMS, DIM, 11)).score, Vectors)


def test_features_of_the_item_are_its_side():
    assert 0 < GENRES < ITEMS
    assert is_plain(apart("t = Add (i, g)\n p = Mul (t, u)\n score = ReduceSum (p, last)"))
