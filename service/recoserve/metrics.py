"""What Prometheus may know: the collectors, in base units, never an id as a label."""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Sequence
from typing import Protocol
from weakref import WeakSet

import prometheus_client
from prometheus_client import REGISTRY, Counter, Gauge, Metric

PREFIX = "recoserve_"
SECONDS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Keeper(Protocol):
    """Whoever keeps samples back, to make many at a time."""

    def flush(self) -> None: ...


class Kept:
    """Stands first in the registry, so that whatever is read of it holds all samples."""

    def __init__(self) -> None:
        self._keepers: WeakSet[Keeper] = WeakSet()
        REGISTRY.register(self)

    def by(self, keeper: Keeper) -> None:
        """Have `keeper` flushed before every reading, as long as it lives."""
        self._keepers.add(keeper)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> list[Metric]:
        for keeper in list(self._keepers):
            keeper.flush()
        return []


KEPT = Kept()


class Histogram(prometheus_client.Histogram):
    """A histogram that takes many samples at a time, at a fifth of the cost."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """The same as `observe` of each, for a histogram without labels or with them given."""
        self._sum.inc(sum(amounts))
        for bucket, count in Tally([bisect_left(self._upper_bounds, amount) for amount in amounts]).items():
            self._buckets[bucket].inc(count)


HTTP_DURATION = Histogram(
    PREFIX + "http_request_duration_seconds",
    "Time from a request's first byte in the application to its last byte out.",
    ("method", "route", "status"),
    buckets=SECONDS,
)
HTTP_IN_FLIGHT = Gauge(PREFIX + "http_requests_in_flight", "Requests being answered, health and metrics left out.")
QUEUE_DURATION = Histogram(PREFIX + "queue_duration_seconds", "Time that rows waited for their run.", buckets=SECONDS)
QUEUE_DEPTH = Gauge(PREFIX + "queue_depth", "Rows waiting for their run or in it.")
BATCH_ROWS = Histogram(PREFIX + "batch_rows", "Rows (users) per run.", buckets=ROWS)
INFERENCE_DURATION = Histogram(
    PREFIX + "inference_duration_seconds",
    "Time that one run took.",
    ("model", "version", "provider"),
    buckets=SECONDS,
)
REJECTED = Counter(PREFIX + "requests_rejected", "Requests refused without inference.", ("reason",))
RETRIEVAL_ROWS = Counter(PREFIX + "retrieval_rows", "Rows by the way their top-k was found.", ("path",))
MODEL_INFO = Gauge(PREFIX + "model_info", "1 for each model that answers.", ("name", "version", "similarity", "provider"))
MODEL_LOADED = Gauge(PREFIX + "model_load_timestamp_seconds", "When the last of the models was loaded, in seconds since the epoch.")
