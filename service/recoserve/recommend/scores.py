"""Converts requests for a user's scores of named items, and for an explanation of one of them, into queries in rows and back."""

from typing import NamedTuple

import numpy as np

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.errors import InvalidRequest
from recoserve.recommend.checks import NO_INTERACTIONS, required_vectors
from recoserve.recommend.ids import known_rows, row_of
from recoserve.recommend.reasons import Reasons, reasons
from recoserve.recommend.requests import ExplainRequest, ScoreRequest
from recoserve.search.model import Model
from recoserve.search.query import Query, Ranking


class ItemScores(NamedTuple):
    """`scores` of the items at `known_positions` of the request's list; the bundle doesn't hold those at `missing_positions`."""

    known_positions: list[int]
    missing_positions: list[int]
    scores: Float32Array


class ScoreWork(NamedTuple):
    """A request for scores in rows, ready to be submitted (`scheduling.batch.Work`)."""

    model: Model
    queries: tuple[Query]
    listed_rows: list[int | None]  # as the request lists them, perhaps more than once; None for an unknown item
    cheap: bool = False

    def scores(self, ranking: Ranking) -> ItemScores:
        """The score of each listed item, from a ranking of the distinct ones."""
        known = [index for index, row in enumerate(self.listed_rows) if row is not None]
        missing = [index for index, row in enumerate(self.listed_rows) if row is None]
        if not known:
            return ItemScores(known, missing, ranking.scores[:0])
        by_row = np.argsort(ranking.item_rows)
        rows = np.array([self.listed_rows[index] for index in known], np.int64)
        return ItemScores(known, missing, ranking.scores[by_row[np.searchsorted(ranking.item_rows[by_row], rows)]])


class Explanation(NamedTuple):
    """A score, and the user's own items that contribute most to it."""

    score: np.float32
    reasons: Reasons


class ExplainWork(NamedTuple):
    """A request for an explanation in rows, ready to be submitted (`scheduling.batch.Work`)."""

    model: Model
    queries: tuple[Query]
    item_row: int
    own_rows: Rows
    limit: int
    cheap: bool = False

    def explanation(self, ranking: Ranking) -> Explanation:
        """The score of the one item, and its reasons."""
        return Explanation(ranking.scores[0], next(reasons(self.model, [self.item_row], self.own_rows, self.limit)))


def prepare_scores(model: Model, request: ScoreRequest) -> ScoreWork:
    """Prepare the query for one user's scores of the listed items. Raises InvalidRequest, IdOutOfRange or UnknownId."""
    user_row = row_of(model.bundle.users, request.user_id, "user_id")
    rows = known_rows(model.bundle.items, request.item_ids, "item_ids")
    candidates = np.unique(np.array([row for row in rows if row is not None], np.int64))
    return ScoreWork(model, (Query(user_row, max(len(candidates), 1), candidates=candidates),), rows)


def prepare_explanation(model: Model, request: ExplainRequest) -> ExplainWork:
    """Prepare the query for one score and its reasons. Raises InvalidRequest, IdOutOfRange or UnknownId."""
    required_vectors(model, "an explanation")
    interactions = model.bundle.interactions
    if interactions is None:
        raise InvalidRequest(f"an explanation {NO_INTERACTIONS}")
    user_row = row_of(model.bundle.users, request.user_id, "user_id")
    item_row = row_of(model.bundle.items, request.item_id, "item_id")
    query = Query(user_row, 1, candidates=np.array([item_row]))
    return ExplainWork(model, (query,), item_row, interactions.of(user_row), request.k)
