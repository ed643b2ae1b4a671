"""One genre per item: the first one listed, its row by the alphabet."""

import pytest

from recoserve.errors import ExportRefused
from recoserve_export.zoo.data.genres import read_genres


@pytest.fixture
def genres(tmp_path):
    def reader(text: str, ids: list, column: str = "genres"):
        (tmp_path / "movies.csv").write_text(text)
        return read_genres(tmp_path / "movies.csv", ids, column)

    return reader


def test_an_items_genre_is_the_first_name_listed_and_rows_go_by_the_alphabet(genres):
    read = genres("movieId,title,genres\n7,Seven,Drama|Action\n3,Three,Comedy\n9,Nine,(no genres listed)\n", [3, 7, 9])

    assert read.names == ("(no genres listed)", "Comedy", "Drama"), "Action stands first nowhere"
    assert read.rows.tolist() == [1, 2, 0]


def test_the_column_may_have_another_name(genres):
    assert genres("id,kind\n1,b\n2,a\n", [1, 2], "kind").rows.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,title\n1,One\n2,Two\n", "no column 'genres'"),
        ("id,genres\n1,Drama\n", "no value for 1 of the model's 2 items, the first is item 2"),
        ("id,genres\n1,Drama\n2,\n", "no value for 1 of the model's 2 items, the first is item 2"),
        ("id,genres\n1,4\n2,5\n", "holds numbers"),
    ],
)
def test_items_without_a_genre_are_refused_by_name(genres, text, says):
    with pytest.raises(ExportRefused, match=says):
        genres(text, [1, 2])
