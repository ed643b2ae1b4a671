"""Every format version that was ever released stays readable: a tiny bundle of each is kept, and never written again."""

from pathlib import Path

import pytest
from recoserve.recommend.recommender import recommend_now

from recoserve.recommend.requests import RecommendRequest
from recoserve.scheduling.loader import load_model

FORMATS = sorted((Path(__file__).parents[1] / "data").glob("format-*"))


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_an_old_bundle_still_answers(folder):
    """Users 10 to 15, items item-0 to item-7; even rows like even rows, and row 0 has seen items 0 and 4."""
    wanted = RecommendRequest(user_id=10, k=3, exclude_seen=True, include=["metadata"])
    found = recommend_now(load_model(folder), wanted)

    assert found.items.ids == ["item-2", "item-6", "item-1"]
    assert found.items.metadata()[0] == {"title": "Item 2", "genres": ["even"]}


def test_the_current_format_is_among_them():
    assert [folder.name for folder in FORMATS] == ["format-1"]
