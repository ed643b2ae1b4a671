"""Requests for the users nearest to one of them: ids to a query in rows, and its ranking back to ids."""

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


class SimilarUsers(NamedTuple):
    """A request in rows, ready to be submitted (`scheduling.batch.Work`), and the way back to ids."""

    model: Model
    queries: tuple[NeighbourQuery]
    cheap: bool = False

    def nearest(self, ranking: Ranking) -> NearestUsers:
        """The ranking in ids."""
        return NearestUsers(self.model.bundle.users.external(ranking.item_rows.tolist()), ranking.scores)


def similar_users(model: Model, request: SimilarUsersRequest) -> SimilarUsers:
    """The users of largest cosine to one. Raises InvalidRequest, IdOutOfRange or UnknownId."""
    required_vectors(model, "nearness")
    row = row_of(model.bundle.users, request.user_id, "user_id")
    return SimilarUsers(model, (NeighbourQuery("user", row, request.k),))
