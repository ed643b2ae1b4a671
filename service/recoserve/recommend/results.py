"""Answers in external ids, still as arrays and Python values: `web.encoders` makes JSON of them."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.bundle.vocabulary import ExternalId
from recoserve.search.model import Model


class RankedItems(NamedTuple):
    """Items with a score each, best first, and the model that ranked them."""

    model: Model
    rows: Rows
    ids: list[ExternalId]
    scores: Float32Array

    @classmethod
    def of_rows(cls, model: Model, rows: Rows, scores: Float32Array) -> Self:
        """Ranked items from their rows."""
        return cls(model, rows, model.bundle.items.external(rows.tolist()), scores)

    def metadata(self) -> list[dict[str, Any]]:
        """Each item's metadata, in the order of the items; empty objects where the bundle has none."""
        item_metadata = self.model.bundle.item_metadata
        return [item_metadata[row] if item_metadata else {} for row in self.rows.tolist()]


class Reasons(NamedTuple):
    """The user's own items that carry one score, largest cosine first, and the share of each in all positive cosines."""

    items: RankedItems
    shares: Float32Array


def reasons(model: Model, item_rows: Sequence[int], own_rows: Rows, limit: int) -> Iterator[Reasons]:
    """For each of some items, up to `limit` of the user's own items that carry its score."""
    assert model.vectors  # noqa: S101  # requests for reasons are refused for models without vectors
    carriers = model.vectors.reasons(item_rows, own_rows, limit)
    return (Reasons(RankedItems.of_rows(model, rows, cosines), shares) for rows, cosines, shares in carriers)
