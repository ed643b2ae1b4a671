"""Features of a model: each input has values, and all values have an input."""

import csv

import pytest

from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Input
from recoserve_export.inputs.features import read_features
from recoserve_export.inputs.ids import read_ids
from tests.export.inputs.reading import FLOAT, INT, ITEMS, read_feature
from tests.movielens import ABSENT, FOLDER, HERE


def test_every_input_needs_values_and_all_values_need_an_input():
    """The message lists the model's feature inputs and names the option."""
    inputs = {"genre": Input("genre", INT), "year": Input("year", FLOAT)}

    with pytest.raises(ExportRefused, match=r"no values for 'year'; .*'genre', 'year'.*--item-feature year=FILE\[:COLUMN\]"):
        read_features({"genre": [0, 1, 2]}, inputs, {}, ITEMS)
    with pytest.raises(ExportRefused, match="no feature input 'gender'; its item features are 'genre', 'year'"):
        read_features({"genre": [0, 1, 2], "year": [1, 2, 3], "gender": [1, 1, 1]}, inputs, {}, ITEMS)
    with pytest.raises(ExportRefused, match="no feature input 'gender'; its item features are none"):
        read_features({}, {}, {}, ITEMS, {"gender": ["a"]})
    assert read_features({}, {}, {}, ITEMS) == ({}, [])


@pytest.mark.skipif(not HERE, reason=ABSENT)
@pytest.mark.parametrize(("rows", "width"), [(19, 1), (20, 1), (951, 1), (None, 20), (None, 19)])
def test_the_genres_of_movielens_are_a_feature(rows, width):
    """The first genre of 19 or 20, the whole cell of 951, or a mark for each of 20; with the film of no genre or without."""
    with open(FOLDER / "movies.csv", encoding="utf-8", newline="") as file:
        genres = {int(line["movieId"]): line["genres"] for line in csv.DictReader(file)}
    items = read_ids("item", sorted(genres, reverse=True), len(genres))
    shape = () if width == 1 else (width,)

    values, warnings = read_feature(FOLDER / "movies.csv", INT if rows else FLOAT, shape, rows, items=items)

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
