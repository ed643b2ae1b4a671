"""The collectors' own additions to the client library."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry

from recoserve import metrics

AMOUNTS = st.lists(st.floats(0, 20) | st.sampled_from(metrics.SECONDS_BUCKETS), max_size=50)


class OtherInternals:
    """A histogram of a client library that has `observe`, but none of the private names that `observe_many` uses."""

    def __init__(self, histogram):
        self.observe = histogram.observe


def new_histogram():
    return metrics.Histogram("h", "h", buckets=metrics.SECONDS_BUCKETS, registry=CollectorRegistry())


def values(histogram):
    """Every sample of a histogram, but for its time of creation."""
    (metric,) = histogram.collect()
    return {(sample.name, sample.labels.get("le")): sample.value for sample in metric.samples if sample.name != "h_created"}


def observed_one_by_one(amounts):
    histogram = new_histogram()
    for amount in amounts:
        histogram.observe(amount)
    return values(histogram)


@given(AMOUNTS)
def test_many_samples_in_one_call_are_counted_like_one_by_one(amounts):
    histogram = new_histogram()
    histogram.observe_many(amounts)

    assert values(histogram) == pytest.approx(observed_one_by_one(amounts))


@given(AMOUNTS)
def test_without_the_private_names_the_same_is_counted(amounts):
    histogram = new_histogram()
    metrics.Histogram.observe_many(OtherInternals(histogram), amounts)

    assert values(histogram) == observed_one_by_one(amounts)


def test_the_client_library_has_the_private_names_that_make_observe_many_fast():
    """Where this fails, answers and metrics stay right, but each sample costs five times as much: adapt `observe_many`."""
    histogram = new_histogram()

    assert hasattr(histogram, "_sum"), "the sum of all samples has another name"
    assert hasattr(histogram, "_upper_bounds"), "the bounds of the buckets have another name"
    assert hasattr(histogram, "_buckets"), "the buckets have another name"
    assert len(histogram._buckets) == len(histogram._upper_bounds), "there is no longer one bucket for each bound"
    histogram.observe(0.0)
    counts = [bucket.get() for bucket in histogram._buckets]
    assert counts == [1, *[0] * len(metrics.SECONDS_BUCKETS)], "a bucket's own count includes those below it"


def test_a_histogram_with_labels_refuses_samples_until_they_are_given():
    histogram = metrics.Histogram("h", "h", ("path",), registry=CollectorRegistry())

    with pytest.raises(ValueError, match="label"):
        histogram.observe_many([1.0])
    histogram.labels("exact").observe_many([1.0])


def test_buffered_samples_are_counted_before_anything_is_read():
    class Buffer:
        flushes = 0

        def flush(self):
            self.flushes += 1

    buffer = Buffer()
    metrics.BUFFERS.register(buffer)
    REGISTRY.get_sample_value("recoserve_queue_depth")

    assert buffer.flushes == 1
