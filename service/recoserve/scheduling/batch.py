"""The data of scheduling: a caller's work, its submission in the queue, and the batch of one run."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from recoserve.search.model import Model
from recoserve.search.query import AnyQuery, Ranking

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Work(Protocol):
    """One or more queries of one caller. `cheap` promises that to rank and encode them costs no more than usual for this model."""

    @property
    def model(self) -> Model: ...
    @property
    def queries(self) -> Sequence[AnyQuery]: ...
    @property
    def cheap(self) -> bool: ...


class Encoder(Protocol[T_co]):
    """Turns the rankings of a caller's queries, in their order, into what the caller sends."""

    def encode(self, rankings: Sequence[Ranking]) -> T_co: ...


class Completed(NamedTuple, Generic[T]):
    """What the encoder returned, and how long the rows waited and ran, in seconds."""

    value: T
    queue_seconds: float
    run_seconds: float


@dataclass(slots=True, eq=False)
class Submission:
    """A caller's work in the queue. `deadline` and `submitted_at` are values of `time.monotonic()`.

    A large submission is ranked in several runs: `batched_rows` says how many of its queries have been put into a batch, `rankings`
    has the results so far, `run_seconds` adds up the runs. `future` gets the `Completed`, or the error; one query that failed
    (`failure`) fails its whole submission.
    """

    model: Model
    queries: Sequence[AnyQuery]
    encoder: Encoder[Any]
    cheap: bool
    deadline: float
    submitted_at: float
    future: asyncio.Future[Completed[Any]]
    batched_rows: int = 0
    run_seconds: float = 0.0
    rankings: list[Ranking | Exception] = field(default_factory=list)
    failure: Exception | None = None


@dataclass(slots=True)
class Batch:
    """Queries of one model that are ranked in one run, as slices of the submissions that they come from.

    `cheap`: every submission in it is. `completed` has the submissions whose last queries these were, each with its result or
    error, but for those that nobody waits for any more. Times are values of `time.monotonic()`.
    """

    model: Model
    slices: list[tuple[Submission, Sequence[AnyQuery]]]
    rows: int
    cheap: bool
    started_at: float = 0.0
    ranked_at: float = 0.0
    rankings: Sequence[Ranking | Exception] = ()
    completed: list[tuple[Submission, Completed[Any] | Exception]] = field(default_factory=list)
