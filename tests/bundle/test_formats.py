"""Every format version that was ever released stays readable: a tiny bundle of each is kept, and never written again."""

from pathlib import Path

import pytest

from recoserve.recommend import top_k
from recoserve.recommend.requests import RecommendRequest
from recoserve.scheduling.loader import load_model

FORMATS = sorted((Path(__file__).parents[1] / "data").glob("format-*"))


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_a_bundle_of_an_older_format_is_served(folder):
    """Users 10 to 15, items item-0 to item-7; even rows like even rows, and row 0 has interacted with items 0 and 4."""
    model = load_model(folder)
    request = RecommendRequest(user_id=10, k=3, exclude_seen=True, include=["metadata"])
    work = top_k.for_user(model, request)
    (ranking,) = model.rank(work.queries)
    items = work.recommendation(ranking).items

    assert items.ids == ["item-2", "item-6", "item-1"]
    assert items.metadata()[0] == {"title": "Item 2", "genres": ["even"]}


def test_there_is_a_bundle_of_the_current_format():
    assert [folder.name for folder in FORMATS] == ["format-1"]
