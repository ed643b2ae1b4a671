"""Records the sizes, times and search paths of batches, and passes them to the metrics."""

from collections import Counter
from dataclasses import dataclass, field

from recoserve import metrics
from recoserve.scheduling.batch import Batch
from recoserve.search.query import Ranking

FLUSH_BATCHES = 100


@dataclass(slots=True)
class _Samples:
    """Rows of each batch, seconds of its ranking by (model, version, provider), and each row's waiting time and search path."""

    rows: list[int] = field(default_factory=list)
    seconds: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


class BatchStatistics:
    """Buffers the samples of up to `FLUSH_BATCHES` batches, since to add many to a histogram costs little more than to add one.

    `metrics` flushes registered buffers before each scrape, so a scrape sees every batch that has run.
    """

    def __init__(self) -> None:
        self._samples = _Samples()
        metrics.BUFFERS.register(self)

    def record(self, batch: Batch) -> None:
        """Add a batch that has run."""
        samples, manifest, started_at = self._samples, batch.model.manifest, batch.started_at
        samples.rows.append(batch.rows)
        labels = (manifest.name, manifest.version, batch.model.provider)
        samples.seconds.setdefault(labels, []).append(batch.ranked_at - started_at)
        samples.waits += [started_at - submission.submitted_at for submission, queries in batch.slices for _ in queries]
        samples.paths += [ranking.path for ranking in batch.rankings if isinstance(ranking, Ranking)]
        if len(samples.rows) >= FLUSH_BATCHES:
            self.flush()

    def flush(self) -> None:
        """Give the metrics what has been recorded since the last time."""
        samples, self._samples = self._samples, _Samples()
        metrics.BATCH_ROWS.observe_many(samples.rows)
        metrics.QUEUE_DURATION.observe_many(samples.waits)
        for path, rows in Counter(samples.paths).items():
            if path:  # empty for rankings that needed no search of all items
                metrics.RETRIEVAL_ROWS.labels(path).inc(rows)
        for labels, seconds in samples.seconds.items():
            metrics.INFERENCE_DURATION.labels(*labels).observe_many(seconds)
