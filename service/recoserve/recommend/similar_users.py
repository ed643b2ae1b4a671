"""Converts requests for the users nearest to one of them into queries in rows, and rankings back into external ids."""

from typing import NamedTuple

from recoserve.bundle.arrays import Float32Array
from recoserve.bundle.vocabulary import ExternalId
from recoserve.recommend.checks import required_vectors
from recoserve.recommend.ids import row_of
from recoserve.recommend.requests import SimilarUsersRequest
from recoserve.search.model import Model
from recoserve.search.query import NeighbourQuery, Ranking


class NearestUsers(NamedTuple):
    """Users by their cosine, nearest first."""

    ids: list[ExternalId]
    cosines: Float32Array


class SimilarUsersWork(NamedTuple):
    """A request for similar users in rows, ready to be submitted (`scheduling.batch.Work`)."""

    model: Model
    queries: tuple[NeighbourQuery]
    cheap: bool = False

    def nearest(self, ranking: Ranking) -> NearestUsers:
        """The users that a ranking comes to, with external ids."""
        return NearestUsers(self.model.bundle.users.external(ranking.item_rows.tolist()), ranking.scores)


def prepare_similar_users(model: Model, request: SimilarUsersRequest) -> SimilarUsersWork:
    """Prepare the query for the users most similar to a given one, by cosine. Raises InvalidRequest, IdOutOfRange or UnknownId."""
    required_vectors(model, "nearness")
    row = row_of(model.bundle.users, request.user_id, "user_id")
    return SimilarUsersWork(model, (NeighbourQuery("user", row, request.k),))
