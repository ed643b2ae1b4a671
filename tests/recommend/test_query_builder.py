"""Requests in ids to queries in rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.errors import IdOutOfRange, InvalidRequest
from recoserve.recommend import query_builder
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

SEEN = {0: [0, 4], 2: [6]}
items = st.lists(st.integers(0, 7), max_size=12)


@pytest.fixture(scope="module")
def model(bundle):
    return load_model(bundle)


@pytest.fixture(scope="module")
def dot_model(tmp_path_factory):
    return load_model(make_bundle(tmp_path_factory.mktemp("dot") / "evens" / "1", similarity="dot"))


@given(st.integers(0, 5), items, items, st.booleans())
def test_rows_are_distinct_and_ascending_and_join_what_is_seen(model, user, excluded, candidates, seen):
    """Law: whatever lists hold, and however often."""
    wanted = RecommendRequest(
        user_id=user, exclude_item_ids=excluded, candidate_item_ids=candidates or None, exclude_seen=seen, k=3
    )
    query = query_builder.of_user(model, wanted).query

    assert query.excluded.tolist() == sorted(set(excluded) | set(SEEN.get(user, []) if seen else []))
    assert (query.candidates is None) == (not candidates)
    assert not candidates or query.candidates.tolist() == sorted(set(candidates))


def test_a_batchs_questions_are_those_of_its_users_made_one_by_one(model):
    """None for an unknown user; 10,000 users who exclude all items hold nothing yet."""
    options = {"exclude_seen": True, "exclude_item_ids": [1, 5], "k": 2}
    asked = query_builder.of_users(model, BatchRequest(user_ids=[2, 9, 0], **options))
    alone = [query_builder.of_user(model, RecommendRequest(user_id=user, **options)) for user in (2, 0)]

    assert asked[1] is None
    for make, single in zip((asked[0], asked[2]), alone, strict=True):
        made = make()
        assert (made.query.user_row, made.query.excluded.tolist()) == (single.query.user_row, single.query.excluded.tolist())
        assert made.own.tolist() == single.own.tolist()


def test_whatever_a_batch_cannot_do_is_refused_before_anything_is_made(tmp_path):
    bare = load_model(make_bundle(tmp_path / "bare", items=None, interactions=None))

    for body in ({"user_ids": [0], "include": ["explanation"]}, {"user_ids": [0, 9], "fallback": "popular"}):
        with pytest.raises(InvalidRequest, match="--interactions"):
            query_builder.of_users(bare, BatchRequest(**body))
    with pytest.raises(IdOutOfRange, match="1 of 2"):
        query_builder.of_users(bare, BatchRequest(user_ids=[0, 9], strict=True))
    assert len(query_builder.of_users(bare, BatchRequest(user_ids=[0, 1], fallback="popular"))) == 2


def test_own_items_are_the_users_or_the_historys(model):
    explained = {"include": ["explanation"]}

    assert query_builder.of_user(model, RecommendRequest(user_id=0)).own.tolist() == []
    assert query_builder.of_user(model, RecommendRequest(user_id=0, **explained)).own.tolist() == [0, 4]
    history = query_builder.of_history(model, HistoryRequest(item_ids=[6, 2, 6], negative_item_ids=[3]))
    assert (history.own.tolist(), history.query.excluded.tolist()) == ([2, 6], [2, 3, 6])
    assert query_builder.explained(model, ExplainRequest(user_id=2, item_id=0))[0].own.tolist() == [6]


def test_near_items_of_unit_vectors_are_searched_for_and_others_looked_through(model, dot_model):
    wanted = SimilarItemsRequest(item_id=3, exclude_item_ids=[7], k=2)
    searched, looked_through = (query_builder.near_item(each, wanted).query for each in (model, dot_model))

    assert isinstance(searched, Query) and searched.excluded.tolist() == [3, 7]
    assert searched.vector.tolist() == [0, 1]
    assert looked_through == NeighbourQuery("item", 3, 2, looked_through.excluded)
    found = [each.rank([query])[0] for each, query in ((model, searched), (dot_model, looked_through))]
    assert [one.item_rows.tolist() for one in found] == [[1, 5], [1, 5]]


def test_unknown_items_of_a_score_are_left_out_of_the_query(model):
    question, rows = query_builder.of_items(model, ScoreRequest(user_id=0, item_ids=[5, 99, 2, 5]))

    assert rows == [5, None, 2, 5]
    assert question.query.candidates.tolist() == [2, 5]


@pytest.mark.parametrize("scale", [1e-19, 1e19])
def test_a_vector_of_any_length_is_a_direction_where_lengths_mean_nothing(model, dot_model, scale):
    """Elsewhere it must leave room for its scores."""
    wanted = HistoryRequest(vector=[3 * scale, 4 * scale])

    np.testing.assert_allclose(query_builder.of_history(model, wanted).query.vector, [0.6, 0.8], rtol=1e-6)
    with pytest.raises(InvalidRequest, match="length"):
        query_builder.of_history(dot_model, wanted)
    np.testing.assert_array_equal(query_builder.of_history(dot_model, HistoryRequest(vector=[3, 4])).query.vector, [3, 4])
