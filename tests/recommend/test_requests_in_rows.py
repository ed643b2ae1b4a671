"""Requests in ids to queries in rows, and what is refused before anything runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.errors import IdOutOfRange, InvalidRequest
from recoserve.recommend import scores, top_k
from recoserve.recommend.requests import (
    BatchRequest,
    ExplainRequest,
    HistoryRequest,
    RecommendRequest,
    ScoreRequest,
    SimilarItemsRequest,
)
from recoserve.scheduling.loader import load_model
from recoserve.search.query import NeighbourQuery, Query
from tests.bundles import make_bundle

INTERACTIONS = {0: [0, 4], 2: [6]}
item_lists = st.lists(st.integers(0, 7), max_size=12)


@pytest.fixture(scope="module")
def model(bundle):
    return load_model(bundle)


@pytest.fixture(scope="module")
def dot_model(tmp_path_factory):
    return load_model(make_bundle(tmp_path_factory.mktemp("dot") / "evens" / "1", similarity="dot"))


def query_of(work):
    (query,) = work.queries
    return query


@given(st.integers(0, 5), item_lists, item_lists, st.booleans())
def test_excluded_and_candidate_rows_are_distinct_and_ascending(model, user, excluded, candidates, exclude_seen):
    """Law: whatever the lists hold, however often, interactions included."""
    request = RecommendRequest(
        user_id=user, exclude_item_ids=excluded, candidate_item_ids=candidates or None, exclude_seen=exclude_seen, k=3
    )
    query = query_of(top_k.for_user(model, request))

    assert query.excluded.tolist() == sorted(set(excluded) | set(INTERACTIONS.get(user, []) if exclude_seen else []))
    assert (query.candidates is None) == (not candidates)
    assert not candidates or query.candidates.tolist() == sorted(set(candidates))


def test_a_batch_asks_for_each_user_what_the_users_own_request_would(model):
    """None for an unknown user; ten thousand users who exclude all items hold nothing before their turn."""
    options = {"exclude_seen": True, "exclude_item_ids": [1, 5], "k": 2}
    makers = top_k.for_users(model, BatchRequest(user_ids=[2, 9, 0], **options))
    single = [top_k.for_user(model, RecommendRequest(user_id=user, **options)) for user in (2, 0)]

    assert makers[1] is None
    for make, expected in zip((makers[0], makers[2]), single, strict=True):
        work = make()
        assert query_of(work).user_row == query_of(expected).user_row
        assert query_of(work).excluded.tolist() == query_of(expected).excluded.tolist()
        assert work.own_rows.tolist() == expected.own_rows.tolist()


def test_what_a_bundle_cannot_do_is_refused_before_any_query_of_a_batch_is_made(tmp_path):
    bare = load_model(make_bundle(tmp_path / "bare", items=None, interactions=None))

    for body in ({"user_ids": [0], "include": ["explanation"]}, {"user_ids": [0, 9], "fallback": "popular"}):
        with pytest.raises(InvalidRequest, match="--interactions"):
            top_k.for_users(bare, BatchRequest(**body))
    with pytest.raises(IdOutOfRange, match="1 of 2"):
        top_k.for_users(bare, BatchRequest(user_ids=[0, 9], strict=True))
    assert len(top_k.for_users(bare, BatchRequest(user_ids=[0, 1], fallback="popular"))) == 2


def test_own_items_are_the_users_interactions_or_the_liked_items_of_a_history(model):
    assert top_k.for_user(model, RecommendRequest(user_id=0)).own_rows.tolist() == []
    assert top_k.for_user(model, RecommendRequest(user_id=0, include=["explanation"])).own_rows.tolist() == [0, 4]
    history = top_k.for_history(model, HistoryRequest(item_ids=[6, 2, 6], negative_item_ids=[3]))
    assert (history.own_rows.tolist(), query_of(history).excluded.tolist()) == ([2, 6], [2, 3, 6])
    assert scores.prepare_explanation(model, ExplainRequest(user_id=2, item_id=0)).own_rows.tolist() == [6]


def test_items_near_one_are_searched_for_where_vectors_have_length_1_and_compared_one_by_one_elsewhere(model, dot_model):
    request = SimilarItemsRequest(item_id=3, exclude_item_ids=[7], k=2)
    search, comparison = (query_of(top_k.for_item(served, request)) for served in (model, dot_model))

    assert isinstance(search, Query) and search.excluded.tolist() == [3, 7]
    assert search.vector.tolist() == [0, 1]
    assert comparison == NeighbourQuery("item", 3, 2, comparison.excluded)
    rankings = [model.rank([search])[0], dot_model.rank([comparison])[0]]
    assert [ranking.item_rows.tolist() for ranking in rankings] == [[1, 5], [1, 5]]


def test_unknown_items_of_a_score_are_left_out_of_the_query(model):
    scoring = scores.prepare_scores(model, ScoreRequest(user_id=0, item_ids=[5, 99, 2, 5]))

    assert scoring.listed_rows == [5, None, 2, 5]
    assert query_of(scoring).candidates.tolist() == [2, 5]


@pytest.mark.parametrize("scale", [1e-19, 1e19])
def test_a_vector_of_any_length_is_a_direction_where_lengths_mean_nothing(model, dot_model, scale):
    """Elsewhere it must leave room for its scores."""
    request = HistoryRequest(vector=[3 * scale, 4 * scale])

    np.testing.assert_allclose(query_of(top_k.for_history(model, request)).vector, [0.6, 0.8], rtol=1e-6)
    with pytest.raises(InvalidRequest, match="length"):
        top_k.for_history(dot_model, request)
    np.testing.assert_array_equal(query_of(top_k.for_history(dot_model, HistoryRequest(vector=[3, 4]))).vector, [3, 4])
