"""Features of the items: any way in which people have them, each value told apart, nothing guessed."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Input
from recoserve_export.inputs.features import read_features
from recoserve_export.inputs.ids import read_ids
from tests.movielens import ABSENT, FOLDER, HERE

INT, FLOAT = np.dtype(np.int64), np.dtype(np.float32)
ITEMS = read_ids("item", [30, 10, 20], 3)


@pytest.fixture
def write(tmp_path):
    """Write a file of text or an array, and get its path."""

    def to(name, body):
        path = tmp_path / name
        if isinstance(body, str):
            path.write_text(body, encoding="utf-8")
        else:
            np.save(path, body)
        return path

    return to


def read(values, dtype=INT, shape=(), rows=None, items=ITEMS, names=None):
    """The values and the warnings of one feature, `genre`."""
    counts = {} if rows is None else {"genre": rows}
    given_names = None if names is None else {"genre": names}
    found, warnings = read_features({"genre": values}, {"genre": Input("genre", dtype, shape)}, counts, items, given_names)
    assert found["genre"].dtype == dtype
    return found["genre"].tolist(), warnings


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

    assert read(path, rows=3) == ([2, 1, 0], [])
    assert read(str(path), shape=(1,), rows=3) == ([[2], [1], [0]], [])
    assert read(path, dtype=FLOAT) == ([2.0, 1.0, 0.0], [])


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
    assert read(values, rows=3) == ([2, 1, 0], [])


def test_a_column_is_named_behind_a_colon(write):
    """The last one: a drive letter is no column, and a file whose name has a colon is itself."""
    path = write("items.csv", "id,a,b\n10,1,4\n20,0,5\n30,2,6\n")
    odd = write("b:a.csv", "id,x\n10,1\n20,0\n30,2\n")

    assert read(f"{path}:b", dtype=FLOAT)[0] == [6, 4, 5]
    assert read(f"{odd}", dtype=FLOAT)[0] == [2, 1, 0]
    with pytest.raises(ExportRefused, match=r"C:\\items.csv"):
        read("C:\\items.csv")


@pytest.mark.parametrize("feature", ["category", "Category", "CATEGORY", "cat-egory"])
def test_a_column_may_have_the_plural_of_the_feature_in_any_case(feature, write):
    """What counts is letters and digits."""
    path = write("items.csv", "id,Categories,other\n0,5,1\n1,6,1\n")

    found, _ = read_features({feature: path}, {feature: Input(feature, FLOAT)}, {}, read_ids("item", None, 2))

    assert found[feature].tolist() == [5, 6]


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
    """For numbers as for codes: the model has seen no item without one."""
    with pytest.raises(ExportRefused, match=message):
        read(write(name, body), dtype=dtype)


def test_a_column_that_is_not_there_or_can_not_be_is_refused(write, tmp_path):
    """With those that are; and a missing file is named."""
    path, text = write("x.csv", "id,a,b\n10,1,1\n"), write("x.txt", "1\n2\n3\n")

    for given_path, message in (
        (f"{path}:c", "no column 'c'; its columns are a, b"),
        (f"{text}:c", "only a .csv file has columns"),
        (f"{tmp_path / 'none.csv'}:c", "none.csv"),
        (tmp_path / "none.npy", "No such file"),
    ):
        with pytest.raises(ExportRefused, match=message):
            read(given_path)


def test_where_ids_are_row_numbers_a_missing_value_tells_so(write):
    """The file has external ids that the export wasn't told of."""
    with pytest.raises(ExportRefused, match="ids are row numbers here, from 0 on; for others pass --item-ids"):
        read(write("x.csv", "id,a\n10,1\n20,2\n30,3\n"), items=read_ids("item", None, 3))


def test_a_model_trained_on_raw_ids_has_features_of_its_catalogue(write):
    """One value for each id that it was given, not for each row of its table."""
    items = read_ids("item", [5, 1], 9)

    assert read(write("x.csv", "id,a\n1,7\n5,8\n"), rows=9, items=items)[0] == [8, 7]
    assert read([8, 7], rows=9, items=items)[0] == [8, 7]


def test_every_input_has_values_and_all_values_an_input():
    """Either way, the refusal lists what there is and the option."""
    inputs = {"genre": Input("genre", INT), "year": Input("year", FLOAT)}

    with pytest.raises(ExportRefused, match=r"no values for 'year'; .*'genre', 'year'.*--item-feature year=FILE\[:COLUMN\]"):
        read_features({"genre": [0, 1, 2]}, inputs, {}, ITEMS)
    with pytest.raises(ExportRefused, match="no feature input 'gender'; its item features are 'genre', 'year'"):
        read_features({"genre": [0, 1, 2], "year": [1, 2, 3], "gender": [1, 1, 1]}, inputs, {}, ITEMS)
    with pytest.raises(ExportRefused, match="no feature input 'gender'; its item features are none"):
        read_features({}, {}, {}, ITEMS, {"gender": ["a"]})
    assert read_features({}, {}, {}, ITEMS) == ({}, [])


# Numbers


@pytest.mark.parametrize(
    ("values", "shape"),
    [([[1, 2], [3, 4], [5, 6]], (2,)), (np.arange(12).reshape(3, 2, 2), (2, 2)), (np.arange(12).reshape(3, 4), (2, 2))],
)
def test_rows_of_numbers_take_the_shape_of_the_input(values, shape):
    """[items, n] as the input has it, whatever its dimensions."""
    assert read(values, dtype=FLOAT, shape=shape)[0] == np.reshape(values, (3, *shape)).tolist()


@pytest.mark.parametrize("bad", ["nan", "inf", "1e999", "1e39", "-1e39"])
def test_numbers_are_finite_in_the_dtype_of_the_input(bad):
    """Whichever way they are given."""
    with pytest.raises(ExportRefused, match=r"no value|doesn't hold|: names"):
        read([1.0, float(bad), 2.0], dtype=FLOAT)
    with pytest.raises(ExportRefused, match=r"doesn't hold|: names"):
        read(["1", bad, "2"], dtype=FLOAT)


@pytest.mark.parametrize(
    ("values", "message"),
    [([1.5, 1, 0], r"takes integers; row 0 of the values of 'genre' is 1.5"), (np.array([1, np.inf, 0]), "row 1")],
)
def test_codes_are_whole(values, message):
    """A float is a code where nothing stands behind the point."""
    with pytest.raises(ExportRefused, match=message):
        read(values, rows=3)


def test_codes_are_held_by_the_dtype_of_the_input():
    """A float32 input is exact up to 2^24, an int32 one up to 2^31."""
    for dtype, code in ((np.dtype(np.float32), 2**24 + 1), (np.dtype(np.int32), 2**31)):
        with pytest.raises(ExportRefused, match=f"takes {dtype}, which doesn't hold {code} in row 1"):
            read([0, code, 1], dtype=dtype, rows=2**40)


def test_an_input_of_floats_that_looks_up_a_table_takes_codes():
    """Keras' inputs are float32 unless told otherwise."""
    assert read([2, 0, 1], dtype=FLOAT, rows=3) == ([2.0, 0.0, 1.0], [])
    assert read(["b", "a", "b"], dtype=FLOAT, rows=2)[0] == [1.0, 0.0, 1.0]
    with pytest.raises(ExportRefused, match="takes integers"):
        read([2, 0.5, 1], dtype=FLOAT, rows=3)


def test_integers_that_look_up_nothing_may_be_any():
    """A year as it is."""
    assert read([1995, -3, 2001]) == ([1995, -3, 2001], [])


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
    """With their range, the table's, and what to do."""
    with pytest.raises(ExportRefused, match=message):
        read(values, rows=4)


def test_as_many_codes_as_rows_stand_for_the_rows_in_ascending_order():
    """101 … 103 in a table of 3; and the warning shows it."""
    values, warnings = read([102, 101, 103], rows=3)

    assert values == [1, 0, 2]
    assert len(warnings) == 1
    assert "3 distinct values" in warnings[0]
    assert "101 → 0, 102 → 1, 103 → 2" in warnings[0]


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=30))
def test_mapped_codes_keep_their_order_and_fill_the_table(codes):
    """Codes that are rows already stay; others are numbered from 0 without a gap; equal ones stay equal."""
    distinct = sorted(set(codes))

    values, _ = read(codes, rows=len(distinct), items=read_ids("item", None, len(codes)))

    assert [distinct[value] for value in values] == codes


# Names


def test_names_stand_for_rows_in_alphabetical_order(write):
    """As LabelEncoder has it; the warning says so and shows the first few."""
    path = write("x.csv", "id,genre\n10,Drama\n20,Action\n30,Comedy\n")

    values, warnings = read(path, rows=3)

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

    values, _ = read(names, rows=len(order), items=read_ids("item", None, len(names)))

    assert [order[value] for value in values] == names


def test_a_table_may_have_more_rows_than_there_are_names_but_not_fewer():
    """Both counts are told."""
    values, warnings = read(["b", "a", "b"], rows=5)

    assert values == [1, 0, 1]
    assert "the first 2 of the table's 5 rows" in warnings[0]
    with pytest.raises(ExportRefused, match="has 3 names, but the table has 2 rows"):
        read(["b", "a", "c"], rows=2)


@pytest.mark.parametrize("names", [["c", "a", "b"], ["", "c", "a", "b", ""]])
@pytest.mark.parametrize("kind", ["list", "array", "txt", "json"])
def test_an_order_of_names_may_be_given(names, kind, write):
    """One name for each row of the table; unused rows may be empty."""
    bodies = {"txt": "\n".join(names) + "\n", "json": str(names).replace("'", '"')}
    in_python = {"list": names, "array": np.array(names)}
    given_names = in_python[kind] if kind in in_python else write(f"names.{kind}", bodies[kind])

    assert read(["a", "b", "c"], rows=len(names), names=given_names) == ([names.index(name) for name in "abc"], [])


@pytest.mark.parametrize(
    ("names", "rows", "message"),
    [
        (["a", "b"], 2, "has 'c', not among the names"),
        (["a", "b", "c"], 4, "3 names for 4 rows of the table; give one for each"),
        (["a", "a", "c"], 3, "'a' stands twice"),
        (["x", "y"], None, "'a', 'b', 'c'"),
        ({"a": 0, "b": 1, "c": 2}, 3, "must be a file or a list in row order, not dict"),
        ("names.csv", 3, "a .txt file, one a line, or in a .json list"),
    ],
)
def test_names_that_do_not_fit_are_refused(names, rows, message):
    """The unknown value, or both counts, are told."""
    with pytest.raises(ExportRefused, match=message):
        read(["a", "b", "c"], rows=rows, names=names)


def test_numbers_may_have_names_too():
    """A year that was looked up in a vocabulary of years."""
    for values in ([1999, 1990, 1999], np.array([1999, 1990, 1999]), ["1999", "1990", "1999"]):
        assert read(values, rows=3, names=["unknown", "1999", "1990"])[0] == [1, 2, 1]
    with pytest.raises(ExportRefused, match="several numbers for each item"):
        read(np.ones((3, 2)), shape=(2,), rows=3, names=["a", "b", "c"])


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
    values, warnings = read(LISTS, rows=rows)

    assert values == expected
    assert "the first name listed counts; 2 of 3 items list several" in warnings[1]


def test_a_table_with_a_row_for_each_different_cell_takes_cells_as_names():
    """What LabelEncoder makes of the whole column."""
    items = read_ids("item", None, 5)

    values, warnings = read(["b|a", "b", "a", "a|b", "b"], rows=4, items=items)

    assert values == [3, 2, 0, 1, 2]
    assert len(warnings) == 1
    assert "the 4 distinct names" in warnings[0]


def test_where_the_table_does_not_tell_the_vocabulary_the_names_must_be_given():
    """All counts are told; with names, the first one of a cell counts."""
    for rows in (7, None):
        with pytest.raises(ExportRefused, match=r"2 names that stand first, 3 names in all, 3 different cells.*--feature-names"):
            read(LISTS, rows=rows)
    assert read(LISTS, rows=4, names=["?", "c", "b", "a"])[0] == [2, 2, 1]


@pytest.mark.parametrize("dtype", [FLOAT, INT, np.dtype(bool)])
def test_an_input_with_a_number_for_each_name_takes_marks(dtype):
    """As get_dummies and MultiLabelBinarizer have it; lists in Python are lists."""
    for values in (LISTS, [["b", "a"], ["b"], ["c", "a"]]):
        marks, warnings = read(values, dtype=dtype, shape=(3,))

        assert marks == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
        assert "a → 0, b → 1, c → 2" in warnings[0]
    assert read(LISTS, dtype=dtype, shape=(3,), names=["c", "b", "a"]) == ([[0, 1, 1], [0, 1, 0], [1, 0, 1]], [])


def test_no_genres_listed_is_a_name_or_marks_nothing():
    """It's a name where the input has a place for it."""
    values = ["a|b", "(no genres listed)", "b"]

    assert read(values, dtype=FLOAT, shape=(3,))[0] == [[0, 1, 1], [1, 0, 0], [0, 0, 1]]
    marks, warnings = read(values, dtype=FLOAT, shape=(2,))
    assert marks == [[1, 1], [0, 0], [0, 1]]
    assert "1 of 3 items have '(no genres listed)', which marks nothing" in warnings[1]
    assert read(values, dtype=FLOAT, shape=(2,), names=["b", "a"])[0] == [[1, 1], [0, 0], [1, 0]]
    assert read(values, rows=3)[0] == [1, 0, 2]


@given(st.lists(st.sets(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=12))
def test_marks_tell_the_names_again(sets):
    """Each item's marks are its names, and no others."""
    order = sorted(set().union(*sets))
    shape = (max(len(order), 2),)
    names = order if len(order) > 1 else [*order, "z"]

    marks, _ = read(["|".join(each) for each in sets], FLOAT, shape, items=read_ids("item", None, len(sets)), names=names)

    assert [{name for name, mark in zip(names, row, strict=True) if mark} for row in marks] == sets


@pytest.mark.parametrize(
    ("dtype", "shape", "rows", "names", "message"),
    [
        (FLOAT, (), None, None, r"takes float32 \[\] of each item, but the values of 'genre': names, like 'b\|a'"),
        (FLOAT, (1,), None, ["a", "b", "c"], r"takes float32 \[1\]"),
        (INT, (3,), 3, None, r"int64 \[3\] of each item as rows of a table"),
        (FLOAT, (4,), None, None, "takes 4 numbers of each item, but .* has 3 names"),
        (FLOAT, (4,), None, ["a", "b", "c"], "3 names for 4 numbers of each item"),
        (FLOAT, (2,), None, ["a", "b"], "'c', not among the names"),
    ],
)
def test_names_that_the_input_can_not_take_are_refused(dtype, shape, rows, names, message):
    """Numbers are asked for, or the names that fit."""
    with pytest.raises(ExportRefused, match=message):
        read(LISTS, dtype, shape, rows, names=names)


@given(st.permutations([(30, "Drama"), (10, "Comedy"), (20, "Action|Drama")]))
def test_the_order_of_lines_is_of_no_account(tmp_path_factory, lines):
    """The join is on the id."""
    path = tmp_path_factory.mktemp("features") / "x.csv"
    path.write_text("id,genre\n" + "".join(f"{item},{genre}\n" for item, genre in lines))

    assert read(path, rows=3)[0] == [2, 1, 0]


@pytest.mark.parametrize(
    "bad", [5, None, {"a": 1}, {1, 2, 3}, [1, None, 2], [1, object(), 2], ["a", float("nan"), "b"], [["a"], [], ["b"]]]
)
def test_other_values_in_python_are_refused(bad):
    """A sentence, never a traceback."""
    with pytest.raises(ExportRefused, match="the values of 'genre'"):
        read(bad)


@pytest.mark.skipif(not HERE, reason=ABSENT)
@pytest.mark.parametrize(("rows", "width"), [(19, 1), (20, 1), (951, 1), (None, 20), (None, 19)])
def test_the_genres_of_movielens_are_a_feature(rows, width):
    """The first genre of 19 or 20, the whole cell of 951, or a mark for each of 20; with the film of no genre or without."""
    with open(FOLDER / "movies.csv", encoding="utf-8", newline="") as file:
        genres = {int(line["movieId"]): line["genres"] for line in csv.DictReader(file)}
    items = read_ids("item", sorted(genres, reverse=True), len(genres))
    shape = () if width == 1 else (width,)

    values, warnings = read(FOLDER / "movies.csv", INT if rows else FLOAT, shape, rows, items=items)

    cells = [genres[item] for item in sorted(genres, reverse=True)]
    first, every = [cell.split("|")[0] for cell in cells], sorted({name for cell in cells for name in cell.split("|")})
    if rows:
        read_as = cells if rows == 951 else first
        order = every if rows == 20 else sorted(set(read_as))
        assert [order[value] for value in values] == read_as
    else:
        order = every[20 - width :]
        assert [sum(row) for row in values] == [0 if width == 19 and "no genres" in cell else cell.count("|") + 1 for cell in cells]
        assert all(values[row][order.index(name)] for row, name in enumerate(first) if name in order)
    assert "in alphabetical order" in warnings[0]
