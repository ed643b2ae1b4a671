"""The service's Prometheus metrics, in base units (seconds, bytes). No label ever holds an id."""

from bisect import bisect_left
from collections import Counter as CountByValue
from collections.abc import Sequence
from typing import Protocol
from weakref import WeakSet

import prometheus_client
from prometheus_client import REGISTRY, Counter, Gauge, Metric

PREFIX = "recoserve_"
SECONDS_BUCKETS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class SampleBuffer(Protocol):
    """Collects samples for a while, so that many are counted in one call."""

    def flush(self) -> None:
        """Count the collected samples."""


class SampleBuffers:
    """Flushes every registered buffer before a scrape; a collector that has no metrics of its own.

    The client library reads its collectors in the order of their registration. This one is registered before all others of this
    module, so that whatever is read after it includes every sample.
    """

    def __init__(self) -> None:
        self._buffers: WeakSet[SampleBuffer] = WeakSet()
        REGISTRY.register(self)

    def register(self, buffer: SampleBuffer) -> None:
        """Flush `buffer` before every scrape, for as long as it lives: the reference is weak."""
        self._buffers.add(buffer)

    def describe(self) -> list[Metric]:
        """Return no metrics. Without this method the client library would call `collect`, and so flush, at the registration."""
        return []

    def collect(self) -> list[Metric]:
        """Flush the buffers and return no metrics."""
        for buffer in list(self._buffers):
            buffer.flush()
        return []


BUFFERS = SampleBuffers()


class Histogram(prometheus_client.Histogram):
    """A histogram that can count many samples in one call."""

    def observe_many(self, amounts: Sequence[float]) -> None:
        """Count every amount as `observe` does, at a fifth of the cost.

        The histogram must have no labels, or be the child that `labels` returned; raises ValueError otherwise.
        """
        # `observe` takes two locks and walks the bounds for each sample. The sum and the buckets below it are private to the
        # client library, which may rename them; where they are missing, each sample is counted by `observe`. They are looked up
        # before anything is counted, so that no sample is counted twice.
        try:
            total, bounds, buckets = self._sum, self._upper_bounds, self._buckets
        except AttributeError:
            for amount in amounts:
                self.observe(amount)
            return
        total.inc(sum(amounts))
        # Each bucket counts only the samples between the bound below it and its own; the library adds buckets up at a scrape.
        for index, count in CountByValue([bisect_left(bounds, amount) for amount in amounts]).items():
            buckets[index].inc(count)


HTTP_DURATION = Histogram(
    PREFIX + "http_request_duration_seconds",
    "Time from a request's first byte in the application to its last byte out.",
    ("method", "route", "status"),
    buckets=SECONDS_BUCKETS,
)
HTTP_IN_FLIGHT = Gauge(PREFIX + "http_requests_in_flight", "Requests being answered, except those for health and metrics.")
QUEUE_DURATION = Histogram(PREFIX + "queue_duration_seconds", "Time that rows waited for their run.", buckets=SECONDS_BUCKETS)
QUEUE_DEPTH = Gauge(PREFIX + "queue_depth", "Rows waiting for their run or in it.")
BATCH_ROWS = Histogram(PREFIX + "batch_rows", "Rows (users) per run.", buckets=ROWS_BUCKETS)
INFERENCE_DURATION = Histogram(
    PREFIX + "inference_duration_seconds",
    "Time that one run took.",
    ("model", "version", "provider"),
    buckets=SECONDS_BUCKETS,
)
REJECTED = Counter(PREFIX + "requests_rejected", "Requests refused without inference.", ("reason",))
RETRIEVAL_ROWS = Counter(PREFIX + "retrieval_rows", "Rows by how their top-k was found.", ("path",))
MODEL_INFO = Gauge(PREFIX + "model_info", "1 for each model that answers.", ("name", "version", "similarity", "provider"))
MODEL_LOADED = Gauge(PREFIX + "model_load_timestamp_seconds", "When the last of the models was loaded, in seconds since the epoch.")
