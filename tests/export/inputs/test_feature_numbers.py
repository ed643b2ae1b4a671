"""Features that are numbers: quantities stay as they are, codes are rows of a table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.errors import ExportRefused
from recoserve_export.inputs.ids import read_ids
from tests.export.inputs.reading import FLOAT, read_feature


@pytest.mark.parametrize(
    ("values", "shape"),
    [([[1, 2], [3, 4], [5, 6]], (2,)), (np.arange(12).reshape(3, 2, 2), (2, 2)), (np.arange(12).reshape(3, 4), (2, 2))],
)
def test_rows_of_numbers_take_the_shape_of_the_input(values, shape):
    """[items, n] is reshaped to [items, *shape]."""
    assert read_feature(values, dtype=FLOAT, shape=shape)[0] == np.reshape(values, (3, *shape)).tolist()


@pytest.mark.parametrize("bad", ["nan", "inf", "1e999", "1e39", "-1e39"])
def test_numbers_are_finite_in_the_dtype_of_the_input(bad):
    """As numbers or as texts."""
    with pytest.raises(ExportRefused, match=r"no value|doesn't hold|not names"):
        read_feature([1.0, float(bad), 2.0], dtype=FLOAT)
    with pytest.raises(ExportRefused, match=r"doesn't hold|not names"):
        read_feature(["1", bad, "2"], dtype=FLOAT)


@pytest.mark.parametrize(
    ("values", "message"),
    [([1.5, 1, 0], r"takes integers; row 0 of the values of 'genre' is 1.5"), (np.array([1, np.inf, 0]), "row 1")],
)
def test_codes_are_whole(values, message):
    """A float is a code only if it is a whole number."""
    with pytest.raises(ExportRefused, match=message):
        read_feature(values, rows=3)


def test_codes_are_held_by_the_dtype_of_the_input():
    """A float32 input is exact up to 2^24, an int32 one up to 2^31."""
    for dtype, code in ((np.dtype(np.float32), 2**24 + 1), (np.dtype(np.int32), 2**31)):
        with pytest.raises(ExportRefused, match=f"takes {dtype}, which doesn't hold {code} in row 1"):
            read_feature([0, code, 1], dtype=dtype, rows=2**40)


def test_an_input_of_floats_that_looks_up_a_table_takes_codes():
    """Keras' inputs are float32 unless told otherwise."""
    assert read_feature([2, 0, 1], dtype=FLOAT, rows=3) == ([2.0, 0.0, 1.0], [])
    assert read_feature(["b", "a", "b"], dtype=FLOAT, rows=2)[0] == [1.0, 0.0, 1.0]
    with pytest.raises(ExportRefused, match="takes integers"):
        read_feature([2, 0.5, 1], dtype=FLOAT, rows=3)


def test_integers_that_look_up_nothing_may_be_any():
    """For instance years, which the model computes with."""
    assert read_feature([1995, -3, 2001]) == ([1995, -3, 2001], [])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [1, 2, 9],
            r"3 distinct values from 1 to 9, but the table has 4 rows and takes \[0, 3\]: input_dim must be max value \+ 1 = 10",
        ),
        ([-1, 2, 1], r"takes \[0, 3\]: --feature-names genre=FILE"),
        ([1, 2, 4], r"input_dim must be max value \+ 1 = 5"),
    ],
)
def test_codes_outside_the_table_are_refused(values, message):
    """The message has their range, the table's, and what to do."""
    with pytest.raises(ExportRefused, match=message):
        read_feature(values, rows=4)


def test_as_many_codes_as_rows_stand_for_the_rows_in_ascending_order():
    """101 … 103 in a table of 3 rows; the warning shows the mapping."""
    values, warnings = read_feature([102, 101, 103], rows=3)

    assert values == [1, 0, 2]
    assert len(warnings) == 1
    assert "3 distinct values" in warnings[0]
    assert "101 → 0, 102 → 1, 103 → 2" in warnings[0]


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=30))
def test_mapped_codes_keep_their_order_and_fill_the_table(codes):
    """Codes that are rows already stay; others are numbered from 0 without a gap; equal ones stay equal."""
    distinct = sorted(set(codes))

    values, _ = read_feature(codes, rows=len(distinct), items=read_ids("item", None, len(codes)))

    assert [distinct[value] for value in values] == codes
