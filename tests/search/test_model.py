"""A batch is answered as if each query were alone."""

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
    """float64 over normalised tables, written apart from the engine."""
    users, items = (table.astype(np.float64) for table in even_likes_even())
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    allowed = range(8) if query.candidates is None else query.candidates.tolist()
    scores = {row: float(users[query.user_row] @ items[row]) for row in allowed if row not in query.excluded}
    return sorted(scores, key=lambda row: (-round(scores[row], 6), row))[: query.k]


@given(st.lists(QUERIES, max_size=6))
def test_any_batch_equals_the_brute_force_of_each(model, queries):
    """Law: rank(queries)[i] == top-k of query i, ties by ascending row."""
    assert [brute_force(query) for query in queries] == [ranked.item_rows.tolist() for ranked in model.rank(queries)]


@given(st.lists(QUERIES, min_size=1, max_size=6))
def test_batch_mates_change_nothing(model, queries):
    together = [(ranked.item_rows.tolist(), ranked.scores.tolist()) for ranked in model.rank(queries)]
    alone = [(ranked.item_rows.tolist(), ranked.scores.tolist()) for query in queries for ranked in model.rank([query])]

    assert alone == together
