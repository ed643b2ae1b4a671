"""Features that are names: rows of a table in alphabetical order, or a 1 for each name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.errors import ExportRefused
from recoserve_export.inputs.ids import read_ids
from tests.export.inputs.reading import FLOAT, INT, read_feature


def test_names_stand_for_rows_in_alphabetical_order(write):
    """As LabelEncoder has it; the warning says so and shows the first few."""
    path = write("x.csv", "id,genre\n10,Drama\n20,Action\n30,Comedy\n")

    values, warnings = read_feature(path, rows=3)

    assert values == [1, 2, 0]
    assert warnings == [
        "feature 'genre': the 3 distinct names of x.csv, column genre stand for the 3 rows of the table in alphabetical order, "
        "as LabelEncoder has them: Action → 0, Comedy → 1, Drama → 2; "
        "--feature-names genre=FILE gives the name of each row, in row order"
    ]


@given(st.lists(st.text("abcXYZé", min_size=1, max_size=3), min_size=1, max_size=20))
def test_rows_have_the_order_of_names_and_equal_names_one_row(names):
    """The distinct names fill the first rows of the table."""
    order = sorted(set(names))

    values, _ = read_feature(names, rows=len(order), items=read_ids("item", None, len(names)))

    assert [order[value] for value in values] == names


def test_a_table_may_have_more_rows_than_there_are_names_but_not_fewer():
    """The message has both counts."""
    values, warnings = read_feature(["b", "a", "b"], rows=5)

    assert values == [1, 0, 1]
    assert "the first 2 of the table's 5 rows" in warnings[0]
    with pytest.raises(ExportRefused, match="has 3 names, but the table has 2 rows"):
        read_feature(["b", "a", "c"], rows=2)


@pytest.mark.parametrize("names", [["c", "a", "b"], ["", "c", "a", "b", ""]])
@pytest.mark.parametrize("kind", ["list", "array", "txt", "json"])
def test_the_order_of_names_may_be_passed(names, kind, write):
    """One name for each row of the table; unused rows may be empty."""
    bodies = {"txt": "\n".join(names) + "\n", "json": str(names).replace("'", '"')}
    in_python = {"list": names, "array": np.array(names)}
    row_names = in_python[kind] if kind in in_python else write(f"names.{kind}", bodies[kind])

    assert read_feature(["a", "b", "c"], rows=len(names), names=row_names) == ([names.index(name) for name in "abc"], [])


@pytest.mark.parametrize(
    ("names", "rows", "message"),
    [
        (["a", "b"], 2, "has 'c', not among the names"),
        (["a", "b", "c"], 4, "3 names for 4 rows of the table; give one for each"),
        (["a", "a", "c"], 3, "'a' stands twice"),
        (["x", "y"], None, "'a', 'b', 'c'"),
        ({"a": 0, "b": 1, "c": 2}, 3, "must be a file or a list in row order, not dict"),
        ("names.csv", 3, "a .txt file, one on each line, or as a .json list"),
    ],
)
def test_names_that_do_not_fit_are_refused(names, rows, message):
    """The message has the unknown value, or both counts."""
    with pytest.raises(ExportRefused, match=message):
        read_feature(["a", "b", "c"], rows=rows, names=names)


def test_numbers_may_have_names_too():
    """For instance years that were looked up in a vocabulary of years."""
    for values in ([1999, 1990, 1999], np.array([1999, 1990, 1999]), ["1999", "1990", "1999"]):
        assert read_feature(values, rows=3, names=["unknown", "1999", "1990"])[0] == [1, 2, 1]
    with pytest.raises(ExportRefused, match="several numbers for each item"):
        read_feature(np.ones((3, 2)), shape=(2,), rows=3, names=["a", "b", "c"])


LISTS = ["b|a", "b", "c|a"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (2, [0, 0, 1]),  # b, c
        (3, [1, 1, 2]),  # a, b, c
    ],
)
def test_of_several_names_the_first_one_counts_and_the_table_tells_the_vocabulary(rows, expected):
    """A vocabulary of the names that stand first, or of all: whichever has as many names as the table rows."""
    values, warnings = read_feature(LISTS, rows=rows)

    assert values == expected
    assert "the first name listed counts; 2 of 3 items list several" in warnings[1]


def test_a_table_with_a_row_for_each_different_cell_takes_cells_as_names():
    """What LabelEncoder makes of the whole column."""
    items = read_ids("item", None, 5)

    values, warnings = read_feature(["b|a", "b", "a", "a|b", "b"], rows=4, items=items)

    assert values == [3, 2, 0, 1, 2]
    assert len(warnings) == 1
    assert "the 4 distinct names" in warnings[0]


def test_where_the_table_does_not_tell_the_vocabulary_the_names_must_be_given():
    """The message has every count; with names, the first one of a cell is looked up."""
    for rows in (7, None):
        with pytest.raises(ExportRefused, match=r"2 names that stand first, 3 names in all, 3 different cells.*--feature-names"):
            read_feature(LISTS, rows=rows)
    assert read_feature(LISTS, rows=4, names=["?", "c", "b", "a"])[0] == [2, 2, 1]


@pytest.mark.parametrize("dtype", [FLOAT, INT, np.dtype(bool)])
def test_an_input_with_a_number_for_each_name_takes_marks(dtype):
    """As get_dummies and MultiLabelBinarizer have it; lists in Python are lists."""
    for values in (LISTS, [["b", "a"], ["b"], ["c", "a"]]):
        marks, warnings = read_feature(values, dtype=dtype, shape=(3,))

        assert marks == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
        assert "a → 0, b → 1, c → 2" in warnings[0]
    assert read_feature(LISTS, dtype=dtype, shape=(3,), names=["c", "b", "a"]) == ([[0, 1, 1], [0, 1, 0], [1, 0, 1]], [])


def test_no_genres_listed_is_a_name_or_marks_nothing():
    """It is a name where the input is wide enough to have a column for it."""
    values = ["a|b", "(no genres listed)", "b"]

    assert read_feature(values, dtype=FLOAT, shape=(3,))[0] == [[0, 1, 1], [1, 0, 0], [0, 0, 1]]
    marks, warnings = read_feature(values, dtype=FLOAT, shape=(2,))
    assert marks == [[1, 1], [0, 0], [0, 1]]
    assert "1 of 3 items have '(no genres listed)', which marks nothing" in warnings[1]
    assert read_feature(values, dtype=FLOAT, shape=(2,), names=["b", "a"])[0] == [[1, 1], [0, 0], [1, 0]]
    assert read_feature(values, rows=3)[0] == [1, 0, 2]


@given(st.lists(st.sets(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=12))
def test_an_item_has_a_mark_for_each_of_its_names_and_no_other(sets):
    """Whatever names the items list."""
    order = sorted(set().union(*sets))
    shape = (max(len(order), 2),)
    names = order if len(order) > 1 else [*order, "z"]

    marks, _ = read_feature(
        ["|".join(names_of_item) for names_of_item in sets], FLOAT, shape, items=read_ids("item", None, len(sets)), names=names
    )

    assert [{name for name, mark in zip(names, row, strict=True) if mark} for row in marks] == sets


@pytest.mark.parametrize(
    ("dtype", "shape", "rows", "names", "message"),
    [
        (FLOAT, (), None, None, r"takes float32 \[\] of each item, not names like 'b\|a' from the values of 'genre'"),
        (FLOAT, (1,), None, ["a", "b", "c"], r"takes float32 \[1\]"),
        (INT, (3,), 3, None, r"int64 \[3\] of each item as rows of a table"),
        (FLOAT, (4,), None, None, "takes 4 numbers of each item, but .* has 3 names"),
        (FLOAT, (4,), None, ["a", "b", "c"], "3 names for 4 numbers of each item"),
        (FLOAT, (2,), None, ["a", "b"], "'c', not among the names"),
    ],
)
def test_names_that_the_input_can_not_take_are_refused(dtype, shape, rows, names, message):
    """The message asks for numbers, or for as many names as fit."""
    with pytest.raises(ExportRefused, match=message):
        read_feature(LISTS, dtype, shape, rows, names=names)
