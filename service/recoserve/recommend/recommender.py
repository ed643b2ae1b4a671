"""The one border between ids and rows. Ids stay outside it, rows inside; each request takes its model once."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from recoserve.bundle.vocabulary import ExternalId
from recoserve.recommend import query_builder
from recoserve.recommend.query_builder import Question
from recoserve.recommend.results import Explanation, Items, Near, Recommendation, Scores, in_order_asked, reasons
from recoserve.recommend.wanted import Explaining, NearItem, NearUser, OfHistory, OfUser, OfUsers, Scoring
from recoserve.scheduling.batcher import Batcher, Done
from recoserve.scheduling.registry import ModelRegistry
from recoserve.search.model import Model
from recoserve.search.query import AnyQuery, Ranking

T = TypeVar("T")
DEAR_ITEMS = 1 << 12  # made diverse, explained or told with their metadata in one run: up to 80 µs each
BRIEF_ITEMS = 100  # in a list or an answer of a request that may run on the event loop


class Results(NamedTuple):
    """What came of many users: a result for each known one, in the order asked, and the ids of the others."""

    model: Model
    found: list[bytes]
    missing: list[ExternalId]


class Recommender:
    """Answers requests with the models that the registry holds, in the batcher's turn.

    `finish` makes of an answer what the caller wants, in the inference thread; `deadline` is on the clock of `time.monotonic`.
    Every method raises NotReady, UnknownModel, InvalidRequest, IdOutOfRange, UnknownId, Overloaded, DeadlineExceeded.
    """

    def __init__(self, registry: ModelRegistry, batcher: Batcher) -> None:
        self.registry = registry
        self._batcher = batcher

    def recommend(self, wanted: OfUser, deadline: float, finish: Callable[[Recommendation], T]) -> Awaitable[Done[T]]:
        """One user's top-k."""
        model = self.registry.current(wanted.model)
        question = query_builder.of_user(model, wanted)
        brief = _brief(wanted, question.query)
        return self._run(model, question, lambda ranked: finish(recommended(model, question, ranked)), deadline, brief)

    async def recommend_to_many(
        self, wanted: OfUsers, deadline: float, finish: Callable[[ExternalId, Recommendation], bytes]
    ) -> Done[Results]:
        """Many users' top-k, no more of them at once than one run takes, so that others have their turn between."""
        model = self.registry.current(wanted.model)
        asked = list(zip(wanted.user_ids, query_builder.of_users(model, wanted), strict=True))
        known = [(external, question) for external, question in asked if question]
        results = Results(model, [], [external for external, question in asked if question is None])
        waited, ran, step = 0.0, 0.0, min(self._batcher.most_rows, model.most_rows, _most_users(wanted))
        for users in _parts(known, step):
            part = [(external, question()) for external, question in users]

            def finished(ranked: list[Ranking], part: Sequence[tuple[ExternalId, Question]] = part) -> list[bytes]:
                pairs = zip(part, ranked, strict=True)
                return [finish(external, recommended(model, question, one)) for (external, question), one in pairs]

            done = await self._batcher.run(model, [question.query for _, question in part], finished, deadline, brief=False)
            results.found.extend(done.result)
            waited, ran = waited + done.queue_seconds, ran + done.run_seconds
        return Done(results, waited, ran)

    def recommend_by_history(self, wanted: OfHistory, deadline: float, finish: Callable[[Recommendation], T]) -> Awaitable[Done[T]]:
        """The top-k of somebody without a row."""
        model = self.registry.current(wanted.model)
        question = query_builder.of_history(model, wanted)
        return self._run(model, question, lambda ranked: finish(recommended(model, question, ranked)), deadline)

    def similar_items(self, wanted: NearItem, deadline: float, finish: Callable[[Items], T]) -> Awaitable[Done[T]]:
        """The items of largest cosine to one."""
        model = self.registry.current(wanted.model)
        question = query_builder.near_item(model, wanted)
        return self._run(model, question, lambda ranked: finish(Items(model, ranked.item_rows, ranked.scores)), deadline)

    def similar_users(self, wanted: NearUser, deadline: float, finish: Callable[[Near], T]) -> Awaitable[Done[T]]:
        """The users of largest cosine to one."""
        model = self.registry.current(wanted.model)

        def near(ranked: Ranking) -> Near:
            return Near(model, model.bundle.users.external(ranked.item_rows.tolist()), ranked.scores)

        return self._run(model, query_builder.near_user(model, wanted), lambda ranked: finish(near(ranked)), deadline)

    def score(self, wanted: Scoring, deadline: float, finish: Callable[[Scores], T]) -> Awaitable[Done[T]]:
        """One user's scores of some items."""
        model = self.registry.current(wanted.model)
        question, asked = query_builder.of_items(model, wanted)
        return self._run(model, question, lambda ranked: finish(in_order_asked(model, asked, ranked)), deadline)

    def explain(self, wanted: Explaining, deadline: float, finish: Callable[[Explanation], T]) -> Awaitable[Done[T]]:
        """One score, and which of the user's own items carry it."""
        model = self.registry.current(wanted.model)
        question, item_row = query_builder.explained(model, wanted)

        def explained(ranked: Ranking) -> Explanation:
            return Explanation(ranked.scores[0], next(reasons(model, [item_row], question.own, wanted.k)))

        return self._run(model, question, lambda ranked: finish(explained(ranked)), deadline)

    def _run(
        self, model: Model, question: Question, finish: Callable[[Ranking], T], deadline: float, brief: bool = False
    ) -> Awaitable[Done[T]]:
        return self._batcher.run(model, [question.query], lambda ranked: finish(ranked[0]), deadline, brief)


def recommend_now(model: Model, wanted: OfUser) -> Recommendation:
    """The same answer without a queue, for the command line."""
    question = query_builder.of_user(model, wanted)
    return recommended(model, question, model.rank([question.query])[0])


def recommended(model: Model, question: Question, ranked: Ranking) -> Recommendation:
    """Rows to ids."""
    return Recommendation(Items(model, ranked.item_rows, ranked.scores), question.own, question.popular)


def _brief(wanted: OfUser, query: AnyQuery) -> bool:
    """Whether a request is of the simple kind, as long as its model's runs are short."""
    dear = wanted.diversity or query.conditions or "explanation" in wanted.include
    return not dear and max(wanted.k, len(query.excluded), len(wanted.candidate_item_ids or ())) <= BRIEF_ITEMS


def _most_users(wanted: OfUsers) -> int:
    """Of one run, where items cost more than their place in a list."""
    dear = wanted.diversity or wanted.include
    return max(1, DEAR_ITEMS // wanted.k) if dear else len(wanted.user_ids)


def _parts(known: Sequence[T], step: int) -> Iterator[Sequence[T]]:
    return (known[at : at + step] for at in range(0, len(known), step))
