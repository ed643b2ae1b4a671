"""Answers in rows to answers in ids."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.bundle.vocabulary import ExternalId
from recoserve.recommend.wanted import REASONS
from recoserve.search.model import Model
from recoserve.search.query import Ranking


class Items(NamedTuple):
    """Items with a score each, best first, and the model that gave them."""

    model: Model
    rows: Rows
    scores: Float32Array

    @property
    def ids(self) -> list[ExternalId]:
        return self.model.bundle.items.external(self.rows.tolist())

    def metadata(self) -> list[dict[str, Any]]:
        """The items' metadata, place by place; empty objects where the bundle has none."""
        catalogue = self.model.bundle.item_metadata
        return [catalogue.metadata(int(row)) if catalogue else {} for row in self.rows]


class Reasons(NamedTuple):
    """Somebody's own items that carry a score, those with the largest cosine first."""

    items: Items
    shares: Float32Array


class Recommendation(NamedTuple):
    """What somebody is recommended; `own` are their own items (rows), `popular` tells that the model didn't know them."""

    items: Items
    own: Rows
    popular: bool

    def explanations(self) -> list[Reasons]:
        """Which of their own items carry each score, place by place."""
        return list(reasons(self.items.model, self.items.rows.tolist(), self.own, REASONS))


class Near(NamedTuple):
    """Users by cosine, nearest first."""

    model: Model
    ids: list[ExternalId]
    cosines: Float32Array


class Scores(NamedTuple):
    """A score for each known item, in the order asked, and the places of the unknown ones."""

    model: Model
    known: list[int]
    missing: list[int]
    scores: Float32Array


class Explanation(NamedTuple):
    """A score, and what carries it."""

    score: np.float32
    reasons: Reasons


def reasons(model: Model, item_rows: Sequence[int], own: Rows, most: int) -> Iterator[Reasons]:
    """For each of some items, the `most` of somebody's own items that carry its score."""
    assert model.vectors  # noqa: S101  # `questions` refuses models without
    found = model.vectors.reasons(item_rows, own, most)
    return (Reasons(Items(model, rows, cosines), shares) for rows, cosines, shares in found)


def in_order_asked(model: Model, asked: list[int | None], ranked: Ranking) -> Scores:
    """The scores of items that were ranked among themselves, one for each time an item was asked for."""
    known = [place for place, row in enumerate(asked) if row is not None]
    missing = [place for place, row in enumerate(asked) if row is None]
    order = np.argsort(ranked.item_rows)
    wanted = np.array([asked[place] for place in known], np.int64)
    places = order[np.searchsorted(ranked.item_rows[order], wanted)] if known else order
    return Scores(model, known, missing, ranked.scores[places])
