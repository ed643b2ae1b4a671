"""The soak: the slope of the memory with its interval, and requests of every kind."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from recoserve_bench.command import bench
from recoserve_bench.soak import mixture, slope_of

X = np.arange(1.0, 401)


def test_a_slope_is_found_with_an_interval_that_holds_it():
    noise = np.random.default_rng(0).normal(0, 3, 400)
    slope, half = slope_of(X, 100 + 0.25 * X + noise)

    assert slope == pytest.approx(0.25, abs=half)
    assert 0 < half < 0.05


def test_noise_around_a_level_has_a_slope_of_nought_within_its_interval():
    """In about 95 of 100 series."""
    series = np.random.default_rng(1).normal(100, 3, (100, 400))
    inside = sum(abs(slope) <= half for slope, half in (slope_of(X, memory) for memory in series))

    assert 90 <= inside <= 99


def test_the_mixture_holds_what_is_answered_and_what_is_refused():
    bodies = [request.partition(b"\r\n\r\n")[2] for request in mixture(np.random.default_rng(0))[:800]]
    fields = [json.loads(body) for body in bodies if not body.startswith(b"[")]

    assert {"exclude_item_ids", "candidate_item_ids", "exclude_seen", "include", "unknown"} <= {
        key for body in fields for key in body
    }
    assert min(body.get("k", 1) for body in fields) == 0
    assert max(body.get("k", 1) for body in fields) > 500


def test_a_short_soak_is_answered_in_full(tmp_path):
    to = tmp_path / "soak.json"
    done = CliRunner().invoke(
        bench, ["soak", "--requests", "1000", "--connections", "4", "--folder", str(tmp_path), "--json", str(to)]
    )

    assert done.exit_code == 0, done.output
    (figure,) = json.loads(to.read_text())
    assert set(figure["statuses"]) == {"200", "400", "422"}
    assert figure["requests"] == 1500  # with the requests that warm up
    assert 1500 / 8 * 7 - 8 < figure["statuses"]["200"] < 1500 / 8 * 7 + 8
    low, high = figure["resident"]["slope_95"]
    assert low <= figure["resident"]["slope"] <= high
