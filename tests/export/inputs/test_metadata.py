"""Item metadata, as people's files have it."""

import json

import pytest

from recoserve.errors import ExportRefused
from recoserve_export.inputs.ids import read_ids
from recoserve_export.inputs.metadata import read_items


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
    """Without such a name it is the first column."""
    ids = read_ids("item", ["a", "b"], 2)

    assert read_items(write("items.csv", f"title,{header}\nB,b\nA,a\n"), ids)[0] == [{"title": "A"}, {"title": "B"}]
    assert read_items(write("items.csv", "sku,title\nb,B\na,A\n"), ids)[0] == [{"title": "A"}, {"title": "B"}]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("id,title\n1,A\n1,B\n", "id 1 stands twice, in lines 2 and 3"),
        ("id,title\n1,A,x\n", "line 2: 3 cells"),
        ("id,title,title\n1,A,B\n", "two columns of the header are called 'title'"),
        ('id,title\n1,"A\nA"\n2,B\n2,C\n', "id 2 stands twice, in lines 4 and 5"),
        ("", "empty"),
        (b"id,title\n1,\xe9\n", "not UTF-8"),
    ],
)
def test_metadata_that_can_not_be_joined_is_refused(body, message, write):
    """Each with a message of its own."""
    with pytest.raises(ExportRefused, match=message):
        read_items(write("items.csv", body), read_ids("item", None, 3))


def test_numbers_that_are_not_finite_stay_text(write):
    """JSON has no infinity; a column with one in it is text."""
    metadata, _ = read_items(write("items.csv", "id,x,y\n0,1e999,nan\n1,2,3\n"), read_ids("item", None, 2))

    assert metadata == [{"x": "1e999", "y": "nan"}, {"x": "2", "y": "3"}]


def test_metadata_from_python_stands_in_row_order():
    """One mapping per row; fewer, or anything else, is refused."""
    ids = read_ids("item", None, 2)

    assert read_items([{"t": 1}, {}], ids)[0] == [{"t": 1}, {}]
    for wrong in ([{}], [{}, "title"]):
        with pytest.raises(ExportRefused, match="items:"):
            read_items(wrong, ids)
