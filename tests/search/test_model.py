"""A batch is ranked as if each query had come alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.scheduling.loader import load_model
from recoserve.search.query import Query
from tests.fakes import even_likes_even

ROWS = st.lists(st.integers(0, 7), max_size=8).map(lambda rows: np.unique(np.array(rows, np.int64)))
QUERIES = st.tuples(st.integers(0, 5), st.integers(1, 9), ROWS, st.none() | ROWS.filter(len)).map(lambda fields: Query(*fields))


@pytest.fixture(scope="module")
def model(bundle):
    return load_model(bundle)


def brute_force(query):
    """The query's item rows by float64 over normalised tables, with no code of the service."""
    users, items = (table.astype(np.float64) for table in even_likes_even())
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    allowed = range(8) if query.candidates is None else query.candidates.tolist()
    scores = {row: float(users[query.user_row] @ items[row]) for row in allowed if row not in query.excluded}
    return sorted(scores, key=lambda row: (-round(scores[row], 6), row))[: query.k]


@given(st.lists(QUERIES, max_size=6))
def test_any_batch_equals_the_brute_force_of_each_query(model, queries):
    """Law: rank(queries)[i] is the top-k of query i, ties by ascending row."""
    assert [brute_force(query) for query in queries] == [ranking.item_rows.tolist() for ranking in model.rank(queries)]


@given(st.lists(QUERIES, min_size=1, max_size=6))
def test_a_ranking_does_not_depend_on_the_other_queries_of_its_batch(model, queries):
    batched = [(ranking.item_rows.tolist(), ranking.scores.tolist()) for ranking in model.rank(queries)]
    solo = [(ranking.item_rows.tolist(), ranking.scores.tolist()) for query in queries for ranking in model.rank([query])]

    assert solo == batched
