"""Interactions, as people's files have them."""

import numpy as np
import pytest

from recoserve.errors import ExportRefused
from recoserve_export.inputs.ids import read_ids
from recoserve_export.inputs.interactions import read_interactions
from recoserve_export.inputs.metadata import read_items


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
def test_interactions_are_read_by_column_names_or_from_the_first_two_columns(body, write):
    """With a header or without; a pair that stands twice is one pair."""
    users, items = read_ids("user", [7, 8], 2), read_ids("item", [10, 20, 30], 3)

    interactions, warnings = read_interactions(write("ratings.csv", body), users, items)

    assert (interactions.of(0).tolist(), interactions.of(1).tolist(), warnings) == ([0, 2], [0], [])


def test_pairs_of_unknown_ids_are_left_out_with_a_warning_that_counts_them(write):
    """Where ids are row numbers, the warning says so: ids that start at 1 need a file."""
    path = write("ratings.csv", "user,item\n1,1\n2,2\n3,1\n")

    interactions, warnings = read_interactions(path, read_ids("user", None, 3), read_ids("item", None, 2))

    assert len(interactions) == 1
    assert len(warnings) == 1
    assert "2 of 3 interactions" in warnings[0]
    assert "--user-ids" in warnings[0]


def test_a_first_line_of_two_integers_is_a_pair_whether_its_ids_are_known_or_not(write):
    """It is counted in the warning like every other line."""
    users, items = read_ids("user", [7, 8], 2), read_ids("item", [10, 20], 2)

    interactions, warnings = read_interactions(write("ratings.csv", "9,10,2024-05-01\n7,20,2024-05-02\n"), users, items)

    assert len(interactions) == 1
    assert warnings == ["ratings.csv: 1 of 2 interactions have an id that the model doesn't know, and were left out"]


@pytest.mark.parametrize(("header", "count"), [("who,what", 1), ("zoe,x", 1), ("user,item", 0), ("ann,x", 0)])
def test_a_first_line_that_may_be_a_header_or_a_pair_is_named_in_a_warning(header, count, write):
    """With string ids only known ids, or known names of columns, say which of the two it is."""
    users, items = read_ids("user", ["ann", "bob"], 2), read_ids("item", ["x", "y"], 2)

    _, warnings = read_interactions(write("ratings.csv", f"{header}\nbob,y\n"), users, items)

    assert warnings == ["ratings.csv: line 1 is taken for a header, since its user id and its item id are not both known"] * count


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
    """Each with a message of its own."""
    with pytest.raises(ExportRefused, match=message):
        read_interactions(write("ratings.csv", body), read_ids("user", None, 3), read_ids("item", None, 3))


@pytest.mark.parametrize(
    "pairs", [([0, 3], [0, 0]), ([0], [-1]), ([0, 1], [0]), ([0.5], [0]), ([[0]], [[0]]), ([0],), ([0], [0], [0]), 5]
)
def test_rows_from_python_must_lie_in_the_tables(pairs):
    """As two arrays of one length, with whole numbers inside the tables."""
    with pytest.raises(ExportRefused, match="interactions:"):
        read_interactions(pairs, read_ids("user", None, 3), read_ids("item", None, 3))


def test_two_empty_lists_are_no_interactions():
    interactions, warnings = read_interactions(([], []), read_ids("user", None, 3), read_ids("item", None, 3))

    assert (len(interactions), warnings) == (0, [])


def test_metadata_and_interactions_of_a_model_trained_on_raw_ids_are_joined_on_the_listed_ids(write):
    """They have rows of the catalogue, not of the model's tables."""
    users, items = read_ids("user", [1, 2], 3), read_ids("item", np.array([5, 1, 7]), 9)

    metadata, _ = read_items(write("items.csv", "id,title\n7,C\n5,A\n0,Z\n"), items)
    interactions, _ = read_interactions(write("ratings.csv", "user,item\n2,7\n2,5\n1,1\n0,5\n"), users, items)

    assert metadata == [{"title": "A"}, {}, {"title": "C"}]
    assert (interactions.of(0).tolist(), interactions.of(1).tolist()) == ([1], [0, 2])
