"""Many users' best items in one request, ranked in slices so that other callers have their turn between them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from recoserve.bundle.vocabulary import ExternalId
from recoserve.recommend.requests import BatchRequest
from recoserve.recommend.top_k import Recommendation, TopKWork, for_users
from recoserve.scheduling.batch import Completed
from recoserve.scheduling.batcher import Batcher
from recoserve.search.model import Model
from recoserve.search.query import AnyQuery, Ranking

MAX_COSTLY_ITEMS = 4096  # in a slice, if items are diversified, explained or sent with metadata, at up to 80 µs each

EncodeUser = Callable[[ExternalId, Recommendation], bytes]


class BatchResults(NamedTuple):
    """The encoded answer of each known user, in the order of the request, and the ids of the other users."""

    encoded: list[bytes]
    missing: list[ExternalId]


class _UserSlice(NamedTuple):
    """Some of the users, as one submission. Never cheap: it may exclude and encode a thousand times as much as usual."""

    model: Model
    users: list[tuple[ExternalId, TopKWork]]
    queries: list[AnyQuery]
    cheap: bool = False


class _SliceEncoder(NamedTuple):
    """Encodes each user of a slice."""

    users: list[tuple[ExternalId, TopKWork]]
    encode_user: EncodeUser

    def encode(self, rankings: Sequence[Ranking]) -> list[bytes]:
        pairs = zip(self.users, rankings, strict=True)
        return [self.encode_user(user_id, work.recommendation(ranking)) for (user_id, work), ranking in pairs]


async def recommend_to_many(
    batcher: Batcher, model: Model, request: BatchRequest, deadline: float, encode_user: EncodeUser
) -> Completed[BatchResults]:
    """Recommend items to all users of a request, one slice of them after another.

    Returns the encoded results, and the sums of the slices' waiting and running times. `encode_user` is called in the thread that
    runs the model. Raises as `for_users` and `Batcher.submit` do.
    """
    prepare_by_user = list(zip(request.user_ids, for_users(model, request), strict=True))
    missing = [user_id for user_id, prepare in prepare_by_user if prepare is None]
    known = [(user_id, prepare) for user_id, prepare in prepare_by_user if prepare is not None]
    encoded: list[bytes] = []
    queue_seconds, run_seconds = 0.0, 0.0
    size = min(batcher.max_submission_rows, model.max_rows_per_run, _max_slice_users(request))
    for start in range(0, len(known), size):
        users = [(user_id, prepare()) for user_id, prepare in known[start : start + size]]
        user_slice = _UserSlice(model, users, [query for _, work in users for query in work.queries])
        completed = await batcher.submit(user_slice, _SliceEncoder(users, encode_user), deadline)
        encoded += completed.value
        queue_seconds, run_seconds = queue_seconds + completed.queue_seconds, run_seconds + completed.run_seconds
    return Completed(BatchResults(encoded, missing), queue_seconds, run_seconds)


def _max_slice_users(request: BatchRequest) -> int:
    """How many users a slice may hold: fewer if every item needs extra work."""
    return max(1, MAX_COSTLY_ITEMS // request.k) if request.costly_items else len(request.user_ids)
