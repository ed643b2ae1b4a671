"""External ids, item metadata and seen pairs, as people's files have them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.errors import ExportRefused
from recoserve_export.inputs.metadata import read_ids, read_interactions, read_items


@pytest.fixture
def write(tmp_path):
    """Write a file and get its path: text as UTF-8, bytes as they are."""

    def to(name, body):
        path = tmp_path / name
        path.write_bytes(body if isinstance(body, bytes) else body.encode())
        return path

    return to


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
    assert (ids.find("10"), ids.find("11")) == (1, None)


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


def test_ids_given_in_python_keep_their_type():
    """A list of strings is a list of strings, digits or not; an array of integers is one of integers."""
    assert read_ids("user", ["7", "8"], 2).kind == "string"
    assert read_ids("user", np.array([7, 8], np.int32), 2).kind == "integer"
    assert read_ids("user", [0, 1], 2).kind == "row"
    assert read_ids("user", None, 2).kind == "row"


@pytest.mark.parametrize("bad", [[1.0, 2], [True, 2], [None, 2], ["", "a"], [[1], 2]])
def test_an_id_is_an_integer_or_a_string(bad):
    """Anything else is named."""
    with pytest.raises(ExportRefused, match="entry 0"):
        read_ids("user", bad, 2)


def test_an_id_that_stands_twice_is_named_with_both_places(write):
    """Lines are counted as an editor counts them."""
    with pytest.raises(ExportRefused, match="id 5 stands twice, in lines 2 and 4"):
        read_ids("item", write("ids.csv", "item_id\n5\n6\n5\n"), 3)
    with pytest.raises(ExportRefused, match="id x stands twice, in entries 0 and 2"):
        read_ids("item", ["x", "y", "x"], 3)


@pytest.mark.parametrize(
    ("listed", "count", "message"),
    [
        ([0, 1, 2, 3], 3, r"the largest id is 3 and the table has 3 rows: input_dim must be max id \+ 1 = 4"),
        ([1, 5, 10], 10, r"the largest id is 10 and the table has 10 rows: input_dim must be max id \+ 1 = 11"),
        ([0, 1, 2, 30], 3, r"4 user ids, but the user table has 3 rows: input_dim must be max id \+ 1"),
        (["a", "b"], 1, r"2 user ids, but the user table has 1 rows: input_dim must be max id \+ 1; where ids were mapped"),
    ],
)
def test_a_table_with_too_few_rows_explains_input_dim(listed, count, message):
    """The mistake people make: an Embedding as long as the largest id."""
    with pytest.raises(ExportRefused, match=message):
        read_ids("user", listed, count)


@pytest.mark.parametrize("listed", [["a", "b"], ["1", "2"], [-1, 2], [1, 7], []])
def test_fewer_ids_that_name_no_rows_tell_the_ways_out(listed):
    """One id for each row, or the raw ids that the model was trained on; texts in Python are texts, digits or not."""
    with pytest.raises(ExportRefused, match=r"one id per row, in row order.*trained on the ids as they are.*\[0, 3\]"):
        read_ids("user", listed, 4)


@pytest.mark.parametrize(("listed", "count"), [([1, 2, 3], 3), ([3, 1, 7], 3), ([101, 102, 110], 3), ([10, 20, 30], 3)])
def test_as_many_ids_as_rows_stand_in_row_order(listed, count):
    """Ids that start at 1 or 101, and ids with gaps, are names of the rows 0, 1, 2."""
    ids = read_ids("item", listed, count)

    assert (ids.count, ids.values.tolist(), ids.model_rows, ids.notes) == (3, listed, None, ())


def test_fewer_ids_that_are_rows_are_the_rows_of_a_model_trained_on_raw_ids(write):
    """The catalogue holds these alone, in the order of the file; the report says so."""
    ids = read_ids("item", write("movie_ids.txt", "5\n1\n7\n"), 9)

    assert (ids.kind, ids.count, ids.values.tolist(), ids.model_rows.tolist()) == ("integer", 3, [5, 1, 7], [5, 1, 7])
    assert ids.notes == (
        "movie_ids.txt: 3 ids for a table of 9 rows are taken for row numbers, as in a model trained on raw ids; "
        "the other rows are left out",
    )


def test_what_comes_with_a_model_trained_on_raw_ids_is_joined_with_rows_of_the_catalogue(write):
    """Metadata and seen pairs know nothing of the model's own rows."""
    users, items = read_ids("user", [1, 2], 3), read_ids("item", np.array([5, 1, 7]), 9)

    metadata, _ = read_items(write("items.csv", "id,title\n7,C\n5,A\n0,Z\n"), items)
    seen, _ = read_interactions(write("ratings.csv", "user,item\n2,7\n2,5\n1,1\n0,5\n"), users, items)

    assert metadata == [{"title": "A"}, {}, {"title": "C"}]
    assert (seen.of(0).tolist(), seen.of(1).tolist()) == ([1], [0, 2])


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20, unique=True))
def test_raw_ids_and_rows_of_the_catalogue_are_one_to_one(raw):
    """Each id is found at its place, its model's row is the id itself, and every other row is unknown."""
    ids = read_ids("item", raw, 42)

    assert [ids.find(str(each)) for each in raw] == list(range(len(raw)))
    assert [ids.model_rows[ids.find(str(each))] for each in raw] == raw
    assert {ids.find(str(each)) for each in set(range(42)) - set(raw)} == {None}
    assert [ids.external(row) for row in range(ids.count)] == [str(each) for each in raw]


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("ids.csv", "", "empty"),
        ("ids.txt", "é\n".encode("latin-1"), "not UTF-8"),
        ("ids.json", "{", "not JSON"),
        ("ids.json", '{"a": 1}', "one JSON list"),
        ("ids.npy", "junk", "not a .npy"),
        ("ids.txt", "a\n\nb\n", "entry 2 is empty"),
    ],
)
def test_unreadable_id_files_are_refused(name, body, message, write):
    """Each with its own sentence."""
    with pytest.raises(ExportRefused, match=message):
        read_ids("user", write(name, body), 3)


def test_a_missing_file_is_named(tmp_path):
    """Whatever its kind."""
    for name in ("ids.txt", "ids.csv", "ids.json", "ids.npy"):
        with pytest.raises(ExportRefused, match="No such file"):
            read_ids("user", tmp_path / name, 3)


def test_metadata_is_joined_on_the_id_and_typed_by_column(write):
    """MovieLens as it comes: titles with commas, genres between bars, numbers as numbers, nothing where nothing stands."""
    items = read_ids("item", [50, 10, 20, 30], 4)
    path = write(
        "movies.csv",
        'movieId,title,genres,year,score,code\n10,"One, Two | Three",Comedy|Drama,1990,0.5,007\n'
        "20,Four,(no genres listed),,2,8\n50,1999,Comedy,2001,-1e2,9\n999,Unknown,Drama,x,x,x\n",
    )

    metadata, warnings = read_items(path, items)

    expected = [
        {"title": "1999", "genres": ["Comedy"], "year": 2001, "score": -100.0, "code": "9"},
        {"title": "One, Two | Three", "genres": ["Comedy", "Drama"], "year": 1990, "score": 0.5, "code": "007"},
        {"title": "Four", "genres": [], "score": 2.0, "code": "8"},
        {},
    ]
    assert expected == metadata
    assert json.dumps(expected) == json.dumps(metadata)
    assert [
        warning.startswith(start)
        for warning, start in zip(warnings, ("movies.csv: 1 of 4 items", "movies.csv: 1 of the model's 4 items"), strict=True)
    ] == [True, True]


@pytest.mark.parametrize("header", ["item_id", "itemId", "movieId", "movie_id", "book_id", "product_id", "id", "ID"])
def test_the_id_column_is_found_by_name_wherever_it_stands(header, write):
    """Or else it is the first one."""
    ids = read_ids("item", ["a", "b"], 2)

    assert read_items(write("items.csv", f"title,{header}\nB,b\nA,a\n"), ids)[0] == [{"title": "A"}, {"title": "B"}]
    assert read_items(write("items.csv", "sku,title\nb,B\na,A\n"), ids)[0] == [{"title": "A"}, {"title": "B"}]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("id,title\n1,A\n1,B\n", "id 1 stands twice, in lines 2 and 3"),
        ("id,title\n1,A,x\n", "line 2: 3 cells"),
        ("id,title,title\n1,A,B\n", "column name stands twice"),
        ('id,title\n1,"A\nA"\n2,B\n2,C\n', "id 2 stands twice, in lines 4 and 5"),
        ("", "empty"),
        (b"id,title\n1,\xe9\n", "not UTF-8"),
    ],
)
def test_metadata_that_can_not_be_joined_is_refused(body, message, write):
    """Each with its own sentence."""
    with pytest.raises(ExportRefused, match=message):
        read_items(write("items.csv", body), read_ids("item", None, 3))


def test_numbers_that_are_not_finite_stay_text(write):
    """JSON has no infinity; a column with one in it is text."""
    metadata, _ = read_items(write("items.csv", "id,x,y\n0,1e999,nan\n1,2,3\n"), read_ids("item", None, 2))

    assert metadata == [{"x": "1e999", "y": "nan"}, {"x": "2", "y": "3"}]


def test_metadata_in_python_stands_in_row_order():
    """One mapping per row; fewer, or anything else, is refused."""
    ids = read_ids("item", None, 2)

    assert read_items([{"t": 1}, {}], ids)[0] == [{"t": 1}, {}]
    for wrong in ([{}], [{}, "title"]):
        with pytest.raises(ExportRefused, match="items:"):
            read_items(wrong, ids)


@pytest.mark.parametrize(
    "body",
    [
        "userId,movieId,rating\n7,30,5\n8,10,3\n7,10,1\n7,10,2\n",
        "rating,item,user\n5,30,7\n3,10,8\n1,10,7\n",
        "7, 30\n8, 10\n7, 10\n",
        "who,what\n7,30\n8,10\n7,10\n",
        "user;item\n7;30\n8;10\n7;10\n",
        "user\titem\n7\t30\n8\t10\n7\t10\n",
    ],
)
def test_seen_pairs_are_read_by_column_names_or_from_the_first_two(body, write):
    """With a header or without; a pair that stands twice is one pair."""
    users, items = read_ids("user", [7, 8], 2), read_ids("item", [10, 20, 30], 3)

    seen, warnings = read_interactions(write("ratings.csv", body), users, items)

    assert (seen.of(0).tolist(), seen.of(1).tolist(), warnings) == ([0, 2], [0], [])


def test_pairs_of_unknown_ids_are_counted_and_told(write):
    """Where ids are row numbers, the warning says so: ids that start at 1 need a file."""
    path = write("ratings.csv", "user,item\n1,1\n2,2\n3,1\n")

    seen, warnings = read_interactions(path, read_ids("user", None, 3), read_ids("item", None, 2))

    assert len(seen) == 1
    assert len(warnings) == 1
    assert "2 of 3 interactions" in warnings[0]
    assert "--user-ids" in warnings[0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("user\n1\n", "no item column among user"),
        ("user|item\n1|2\n", "no user and item column"),
        ("user,item\n1\n", "line 2: 1 columns where 2 are needed"),
        ("item,user_name\n1,2\n", "no user column among item, user_name"),
    ],
)
def test_interactions_without_two_columns_are_refused(body, message, write):
    """Each with its own sentence."""
    with pytest.raises(ExportRefused, match=message):
        read_interactions(write("ratings.csv", body), read_ids("user", None, 3), read_ids("item", None, 3))


@pytest.mark.parametrize("pairs", [([0, 3], [0, 0]), ([0], [-1]), ([0, 1], [0]), ([0.5], [0]), ([[0]], [[0]])])
def test_rows_given_in_python_must_lie_in_the_tables(pairs):
    """As many users as items, whole numbers, inside."""
    with pytest.raises(ExportRefused, match="interactions:"):
        read_interactions(pairs, read_ids("user", None, 3), read_ids("item", None, 3))
