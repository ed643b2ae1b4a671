"""Many users' best items in one request, ranked in slices so that other callers have their turn between them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from recoserve.bundle.vocabulary import ExternalId
from recoserve.recommend.requests import BatchRequest
from recoserve.recommend.top_k import Recommendation, TopK, for_users
from recoserve.scheduling.batch import Completed
from recoserve.scheduling.batcher import Batcher
from recoserve.search.model import Model
from recoserve.search.query import AnyQuery, Ranking

MAX_COSTLY_ITEMS = 1 << 12  # of one slice that are made diverse, explained or given their metadata: up to 80 µs each

EncodeUser = Callable[[ExternalId, Recommendation], bytes]


class BatchResults(NamedTuple):
    """The encoded answer of each known user, in the order of the request, and the ids of the other users."""

    encoded: list[bytes]
    missing: list[ExternalId]


class _Slice(NamedTuple):
    """Some of the users, as one submission. Not cheap: what it excludes and encodes may be a thousand times the usual."""

    model: Model
    users: list[tuple[ExternalId, TopK]]
    queries: list[AnyQuery]
    cheap: bool = False


class _SliceEncoder(NamedTuple):
    users: list[tuple[ExternalId, TopK]]
    encode_user: EncodeUser

    def encode(self, rankings: Sequence[Ranking]) -> list[bytes]:
        pairs = zip(self.users, rankings, strict=True)
        return [self.encode_user(user_id, top_k.recommendation(ranking)) for (user_id, top_k), ranking in pairs]


async def recommend_to_many(
    batcher: Batcher, model: Model, request: BatchRequest, deadline: float, encode_user: EncodeUser
) -> Completed[BatchResults]:
    """Rank all users of a request; `encode_user` is called where the model runs. Raises as `for_users` and `Batcher.submit`."""
    makers = list(zip(request.user_ids, for_users(model, request), strict=True))
    missing = [user_id for user_id, make in makers if make is None]
    known = [(user_id, make) for user_id, make in makers if make is not None]
    encoded: list[bytes] = []
    queue_seconds, run_seconds = 0.0, 0.0
    size = min(batcher.max_submission_rows, model.max_rows_per_run, _max_slice_users(request))
    for start in range(0, len(known), size):
        users = [(user_id, make()) for user_id, make in known[start : start + size]]
        work = _Slice(model, users, [query for _, top_k in users for query in top_k.queries])
        completed = await batcher.submit(work, _SliceEncoder(users, encode_user), deadline)
        encoded += completed.value
        queue_seconds, run_seconds = queue_seconds + completed.queue_seconds, run_seconds + completed.run_seconds
    return Completed(BatchResults(encoded, missing), queue_seconds, run_seconds)


def _max_slice_users(request: BatchRequest) -> int:
    """How many users a slice may hold; fewer where every item of an answer costs more than its place in a list."""
    return max(1, MAX_COSTLY_ITEMS // request.k) if request.costly_items else len(request.user_ids)
