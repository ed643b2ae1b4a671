"""External ids, as people's files have them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.errors import ExportRefused
from recoserve_export.inputs.ids import read_ids


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("ids.txt", "30\n10\n20\n"),
        ("ids.txt", "30\r\n10\r\n20"),
        ("ids.csv", "30\n10\n20\n"),
        ("ids.csv", "\ufeffuserId,name\n30,Ann\n10,Bo\n20,Cy\n"),
        ("ids.csv", "user_id\n30\n10\n20\n"),
        ("ids.json", "[30, 10, 20]"),
        ("ids.json", '["30", "10", "20"]'),
    ],
)
def test_integers_are_integers_in_any_kind_of_file(name, body, write):
    """One per line or the first column, with or without a header."""
    ids = read_ids("user", write(name, body), 3)

    assert (ids.kind, ids.values.tolist()) == ("integer", [30, 10, 20])
    assert (ids.row_of("10"), ids.row_of("11")) == (1, None)


@pytest.mark.parametrize("body", ["a\nb\n", "007\n8\n", "1.0\n2\n", "+1\n2\n", "99999999999999999999\n1\n", "-0\n1\n", "１\n2\n"])
def test_ids_that_are_not_all_canonical_integers_are_strings(body, write):
    """Leading zeros, signs, points, other digits and numbers beyond int64 keep their spelling."""
    ids = read_ids("item", write("ids.txt", body), 2)

    assert ("string", body.split()) == (ids.kind, ids.values)


def test_npy_ids_may_be_integers_or_strings(tmp_path):
    """Other dtypes and shapes are refused."""
    for name, array in {
        "i": np.array([5, 3]),
        "s": np.array(["x", "y"]),
        "f": np.array([1.5, 2]),
        "m": np.zeros((2, 2), int),
    }.items():
        np.save(tmp_path / f"{name}.npy", array)

    assert tuple(read_ids("user", tmp_path / f"{name}.npy", 2).kind for name in "is") == ("integer", "string")
    for name in "fm":
        with pytest.raises(ExportRefused, match="integers or strings of one dimension"):
            read_ids("user", tmp_path / f"{name}.npy", 2)


def test_ids_from_python_keep_their_type():
    """A list of strings is a list of strings, digits or not; an array of integers is one of integers."""
    assert read_ids("user", ["7", "8"], 2).kind == "string"
    assert read_ids("user", np.array([7, 8], np.int32), 2).kind == "integer"
    assert read_ids("user", [0, 1], 2).kind == "row"
    assert read_ids("user", None, 2).kind == "row"


@pytest.mark.parametrize("bad", [[1.0, 2], [True, 2], [None, 2], ["", "a"], [[1], 2]])
def test_an_id_is_an_integer_or_a_string(bad):
    """The message names the entry."""
    with pytest.raises(ExportRefused, match="entry 0"):
        read_ids("user", bad, 2)


def test_an_id_that_stands_twice_is_named_with_both_lines_or_entries(write):
    """Lines are numbered as an editor numbers them, empty ones included."""
    with pytest.raises(ExportRefused, match="id 5 stands twice, in lines 2 and 4"):
        read_ids("item", write("ids.csv", "item_id\n5\n6\n5\n"), 3)
    with pytest.raises(ExportRefused, match="id 5 stands twice, in lines 2 and 5"):
        read_ids("item", write("ids.csv", "item_id\n5\n\n6\n5\n"), 3)
    with pytest.raises(ExportRefused, match="id x stands twice, in entries 0 and 2"):
        read_ids("item", ["x", "y", "x"], 3)


@pytest.mark.parametrize(
    ("listed", "count", "message"),
    [
        ([0, 1, 2, 3], 3, r"the largest id is 3 and the table has 3 rows: input_dim must be max id \+ 1 = 4"),
        ([1, 5, 10], 10, r"the largest id is 10 and the table has 10 rows: input_dim must be max id \+ 1 = 11"),
        ([0, 1, 2, 30], 3, r"4 user ids, but the user table has 3 rows: input_dim must be max id \+ 1"),
        (["a", "b"], 1, r"2 user ids, but the user table has 1 rows: input_dim must be max id \+ 1 .*; or the number of ids"),
    ],
)
def test_a_table_with_too_few_rows_explains_input_dim(listed, count, message):
    """The mistake people make: an Embedding as long as the largest id."""
    with pytest.raises(ExportRefused, match=message):
        read_ids("user", listed, count)


@pytest.mark.parametrize("listed", [["a", "b"], ["1", "2"], [-1, 2], [1, 7], []])
def test_fewer_ids_than_rows_that_are_no_row_numbers_are_refused_with_both_remedies(listed):
    """One id for each row, or the raw ids that the model was trained on; texts in Python are texts, digits or not."""
    with pytest.raises(ExportRefused, match=r"one id per row, in row order.*trained on the ids as they are.*\[0, 3\]"):
        read_ids("user", listed, 4)


@pytest.mark.parametrize(("listed", "count"), [([1, 2, 3], 3), ([3, 1, 7], 3), ([101, 102, 110], 3), ([10, 20, 30], 3)])
def test_as_many_ids_as_rows_stand_in_row_order(listed, count):
    """Ids that start at 1 or 101, and ids with gaps, are names of the rows 0, 1, 2."""
    ids = read_ids("item", listed, count)

    assert (ids.count, ids.values.tolist(), ids.model_rows, ids.notes) == (3, listed, None, ())


def test_fewer_ids_that_are_rows_are_the_rows_of_a_model_trained_on_raw_ids(write):
    """Only these items are served, in the order of the file; the report says so."""
    ids = read_ids("item", write("movie_ids.txt", "5\n1\n7\n"), 9)

    assert (ids.kind, ids.count, ids.values.tolist(), ids.model_rows.tolist()) == ("integer", 3, [5, 1, 7], [5, 1, 7])
    assert ids.notes == (
        "movie_ids.txt: 3 ids for a table of 9 rows are taken for row numbers, as in a model trained on raw ids; "
        "the other rows are left out",
    )


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20, unique=True))
def test_raw_ids_and_the_rows_that_are_served_are_one_to_one(raw):
    """An id's row is its position in the list, its model row is the id itself, and every other number is unknown."""
    ids = read_ids("item", raw, 42)

    assert [ids.row_of(str(raw_id)) for raw_id in raw] == list(range(len(raw)))
    assert [ids.model_rows[ids.row_of(str(raw_id))] for raw_id in raw] == raw
    assert {ids.row_of(str(row)) for row in set(range(42)) - set(raw)} == {None}
    assert [ids.text_of(row) for row in range(ids.count)] == [str(raw_id) for raw_id in raw]


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("ids.csv", "", "empty"),
        ("ids.txt", "é\n".encode("latin-1"), "not UTF-8"),
        ("ids.json", "{", "not JSON"),
        ("ids.json", "[" * 100_000, "nested too deeply"),
        ("ids.json", '{"a": 1}', "one JSON list"),
        ("ids.npy", "junk", "not a .npy"),
        ("ids.txt", "a\n\nb\n", "line 2 is empty"),
    ],
)
def test_unreadable_id_files_are_refused(name, body, message, write):
    """Each with a message of its own."""
    with pytest.raises(ExportRefused, match=message):
        read_ids("user", write(name, body), 3)


def test_a_missing_file_is_named(tmp_path):
    """Whatever its kind."""
    for name in ("ids.txt", "ids.csv", "ids.json", "ids.npy"):
        with pytest.raises(ExportRefused, match="No such file"):
            read_ids("user", tmp_path / name, 3)
