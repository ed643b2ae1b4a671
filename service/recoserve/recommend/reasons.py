"""Explains a score by the user's own items that are most similar to the recommended one."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.recommend.requests import MAX_REASONS
from recoserve.recommend.top_k import RankedItems, Recommendation
from recoserve.search.model import Model


class Reasons(NamedTuple):
    """The user's own items that explain one score, largest cosine first, and the share of each in all positive cosines."""

    items: RankedItems
    shares: Float32Array


def reasons(model: Model, item_rows: Sequence[int], own_rows: Rows, limit: int) -> Iterator[Reasons]:
    """For each item of `item_rows`, up to `limit` of the user's own items that are most similar to it."""
    assert model.vectors  # noqa: S101  # requests for reasons are refused for models without vectors
    explaining = model.vectors.reasons(item_rows, own_rows, limit)
    return (Reasons(RankedItems.of_rows(model, rows, cosines), shares) for rows, cosines, shares in explaining)


def explanations(recommendation: Recommendation) -> Iterator[Reasons]:
    """The reasons of each recommended item, in their order."""
    items = recommendation.items
    return reasons(items.model, items.rows.tolist(), recommendation.own_rows, MAX_REASONS)
