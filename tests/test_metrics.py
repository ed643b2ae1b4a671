"""The collectors' own additions to the client library."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry

from recoserve import metrics


def samples(histogram):
    (metric,) = histogram.collect()
    return {(sample.name, sample.labels.get("le")): sample.value for sample in metric.samples if sample.name != "h_created"}


@given(st.lists(st.floats(0, 20) | st.sampled_from(metrics.SECONDS), max_size=50))
def test_many_samples_at_once_are_counted_like_one_by_one(amounts):
    """Law: observe_all(amounts) == observe of each; it reaches into the client library, which could change."""
    together, apart = (metrics.Histogram("h", "h", buckets=metrics.SECONDS, registry=CollectorRegistry()) for _ in range(2))
    together.observe_all(amounts)
    for amount in amounts:
        apart.observe(amount)

    assert samples(together) == pytest.approx(samples(apart))


def test_what_is_kept_back_is_counted_before_anything_is_read():
    class Keeper:
        flushed = 0

        def flush(self):
            self.flushed += 1

    keeper = Keeper()
    metrics.KEPT.by(keeper)
    REGISTRY.get_sample_value("recoserve_queue_depth")

    assert keeper.flushed == 1
