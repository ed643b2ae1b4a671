"""The number of users and items that a model knows: read off the tables that are looked up by its inputs."""

import numpy as np
import pytest

from recoserve_export.graph.lookups import row_counts
from tests.export.partial.graphs import DOT, GENRES, ITEMS, USERS, scorer, table


def test_an_input_may_name_the_rows_of_the_table_it_looks_up():
    assert row_counts(scorer(DOT + "score = Identity (d)")) == {"user": USERS, "item": ITEMS, "genre": GENRES}


def test_the_smallest_table_of_several_counts():
    assert row_counts(scorer("h = Gather (few, item)\n score = Identity (h)", few=table(ITEMS - 2, 1, 0)))["item"] == ITEMS - 2


@pytest.mark.parametrize(
    ("ids", "rows"),
    [
        ("x = Cast <to = 6> (item)", ITEMS - 1),
        ("x = Unsqueeze (item, one)", ITEMS - 1),
        ("n = Less (item, none)\n t = Add (item, five)\n x = Where (n, t, item)", ITEMS - 1),
        ("x = Mod (item, five)", ITEMS),
        ("x = Div (item, five)", ITEMS),
    ],
    ids=["of another dtype", "of another shape", "negative ones count from the end", "remainder", "quotient"],
)
def test_only_ids_that_are_looked_up_as_they_are_count(ids, rows):
    network = scorer(f"{ids}\n score = Gather (few, x)", few=table(ITEMS - 1, 1, 0), five=np.array(5), none=np.array(0))

    assert row_counts(network)["item"] == rows


def test_an_index_of_columns_names_no_rows():
    network = scorer("score = Gather <axis = 1> (few, item)", few=table(2, ITEMS - 1, 0))

    assert row_counts(network)["item"] == ITEMS
