"""Values of a feature in files and in Python: joined on the id or in row order, one for each item."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Input
from recoserve_export.inputs.features import read_features
from recoserve_export.inputs.ids import read_ids
from tests.export.inputs.reading import FLOAT, INT, read_feature


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("genre.csv", "movieId,title,genre\n10,B,1\n20,C,0\n30,A,2\n99,Z,7\n"),
        ("genre.csv", "genres,title,movie_id\n1,B,10\n0,C,20\n2,A,30\n"),
        ("genre.csv", "id,code\n10,1\n20,0\n30,2\n"),
        ("genre.csv", "sku,code\n10,1\n20,0\n30,2\n"),
        ("genre.csv", "id,code\n10,1.0\n20,0.0\n30,2.0\n"),
        ("genre.txt", "2\n1\n0\n"),
        ("genre.json", "[2, 1, 0]"),
        ("genre.json", "[2.0, 1.0, 0.0]"),
        ("genre.npy", np.array([2, 1, 0], np.int32)),
        ("genre.npy", np.array([[2], [1], [0]])),
        ("genre.npy", np.array(["2", "1", "0"])),
    ],
)
def test_codes_are_read_from_any_kind_of_file(name, body, write):
    """A CSV file is joined on the external id, by the column named like the feature or else the only other one."""
    path = write(name, body)

    assert read_feature(path, rows=3) == ([2, 1, 0], [])
    assert read_feature(str(path), shape=(1,), rows=3) == ([[2], [1], [0]], [])
    assert read_feature(path, dtype=FLOAT) == ([2.0, 1.0, 0.0], [])


@pytest.mark.parametrize(
    "values",
    [
        [2, 1, 0],
        (2, 1, 0),
        [[2], [1], [0]],
        np.array([2, 1, 0]),
        np.array([2.0, 1, 0]),
        ["2", "1", "0"],
        np.array([2, 1, 0], object),
    ],
)
def test_values_in_python_follow_the_same_rules(values):
    """Lists, tuples, arrays; of numbers or of texts."""
    assert read_feature(values, rows=3) == ([2, 1, 0], [])


def test_a_column_is_named_behind_a_colon(write):
    """A drive letter is not split off, and neither is what follows the colon in the name of an existing file."""
    path = write("items.csv", "id,a,b\n10,1,4\n20,0,5\n30,2,6\n")
    odd = write("b:a.csv", "id,x\n10,1\n20,0\n30,2\n")

    assert read_feature(f"{path}:b", dtype=FLOAT)[0] == [6, 4, 5]
    assert read_feature(f"{odd}", dtype=FLOAT)[0] == [2, 1, 0]
    with pytest.raises(ExportRefused, match=r"C:\\items.csv"):
        read_feature("C:\\items.csv")


@pytest.mark.parametrize("feature", ["category", "Category", "CATEGORY", "cat-egory"])
def test_a_column_may_have_the_plural_of_the_feature_in_any_case(feature, write):
    """Only letters and digits are compared."""
    path = write("items.csv", "id,Categories,other\n0,5,1\n1,6,1\n")

    features, _ = read_features({feature: path}, {feature: Input(feature, FLOAT)}, {}, read_ids("item", None, 2))

    assert features[feature].tolist() == [5, 6]


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("x.csv", "id,a,b\n10,1,1\n", "no column is called genre; its columns are a, b.*--item-feature genre=.*:COLUMN"),
        ("x.csv", "id\n10\n", "none but the id"),
        ("x.csv", "", "empty"),
        ("x.csv", "id,a\n10,1\n10,2\n", "id 10 stands twice"),
        ("x.csv", "id,a\n10,1\n", "x.csv, column a: no value for 2 of the model's 3 items, the first is item 30"),
        ("x.csv", "id,a\n10,1\n20,\n30,2\n", "no value for 1 of the model's 3 items, the first is item 20"),
        ("x.txt", "1\n\n2\n", "no value for 1 of the model's 3 items, the first is item 10"),
        ("x.txt", "1\n2\n", "2 values for 3 items"),
        ("x.json", "[1, 2, 3, 4]", "4 values for 3 items"),
        ("x.json", "[1, null, 2]", "no value for 1 of 3 items, the first in row 1"),
        ("x.json", '{"a": 1}', "one JSON list of values"),
        ("x.json", "[1, [2], 3]", "different lengths"),
        ("x.json", '[1, {"a": 2}, 3]', "found dict, int"),
        ("x.npy", "junk", "not a .npy file of numbers or names"),
        ("x.npy", np.array(5), "1 values for 3 items"),
        ("x.npy", np.array("a"), "1 values for 3 items"),
        ("x.npy", np.ones((3, 2)), r"takes 1 numbers of each item, shape \[\]; x.npy has 2, shape \[2\]"),
        ("x.parquet", "", ".npy, .csv, .txt or .json"),
    ],
)
@pytest.mark.parametrize("dtype", [INT, FLOAT])
def test_a_file_that_does_not_have_one_value_for_each_item_is_refused(name, body, message, dtype, write):
    """For numbers and for codes: the model was trained on no item without a value."""
    with pytest.raises(ExportRefused, match=message):
        read_feature(write(name, body), dtype=dtype)


def test_a_missing_column_and_a_missing_file_are_refused_by_name(write, tmp_path):
    """The columns that there are are listed; only a CSV file has columns."""
    path, text = write("x.csv", "id,a,b\n10,1,1\n"), write("x.txt", "1\n2\n3\n")

    for path_text, message in (
        (f"{path}:c", "no column 'c'; its columns are a, b"),
        (f"{text}:c", "only a .csv file has columns"),
        (f"{tmp_path / 'none.csv'}:c", "none.csv"),
        (tmp_path / "none.npy", "No such file"),
    ):
        with pytest.raises(ExportRefused, match=message):
            read_feature(path_text)


def test_a_missing_value_hints_at_item_ids_where_ids_are_row_numbers(write):
    """The file has external ids, and --item-ids was left out."""
    with pytest.raises(ExportRefused, match="ids are row numbers here, from 0 on; for others pass --item-ids"):
        read_feature(write("x.csv", "id,a\n10,1\n20,2\n30,3\n"), items=read_ids("item", None, 3))


def test_a_model_trained_on_raw_ids_needs_values_for_the_listed_items_only(write):
    """One value for each id in the list, not for each row of the model's table."""
    items = read_ids("item", [5, 1], 9)

    assert read_feature(write("x.csv", "id,a\n1,7\n5,8\n"), rows=9, items=items)[0] == [8, 7]
    assert read_feature([8, 7], rows=9, items=items)[0] == [8, 7]


@given(st.permutations([(30, "Drama"), (10, "Comedy"), (20, "Action|Drama")]))
def test_the_order_of_lines_does_not_matter(tmp_path_factory, lines):
    """The join is on the id."""
    path = tmp_path_factory.mktemp("features") / "x.csv"
    path.write_text("id,genre\n" + "".join(f"{item},{genre}\n" for item, genre in lines))

    assert read_feature(path, rows=3)[0] == [2, 1, 0]


@pytest.mark.parametrize(
    "bad", [5, None, {"a": 1}, {1, 2, 3}, [1, None, 2], [1, object(), 2], ["a", float("nan"), "b"], [["a"], [], ["b"]]]
)
def test_other_values_in_python_are_refused(bad):
    """With a message, never a traceback."""
    with pytest.raises(ExportRefused, match="the values of 'genre'"):
        read_feature(bad)
