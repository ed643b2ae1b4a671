import os
import shutil

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # for the tests that use the runtime themselves

from tests.bundles import make_bundle

# Nothing that looks at the clock: a busy machine would fail a law that holds.
settings.register_profile("recoserve", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("recoserve")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A complete bundle, not to be changed: even users like even items."""
    return make_bundle(tmp_path_factory.mktemp("models") / "evens" / "1")


@pytest.fixture
def own_bundle(bundle, tmp_path):
    """A copy of it, for a test that damages it."""
    return shutil.copytree(bundle, tmp_path / "evens")


def pytest_terminal_summary(terminalreporter):
    """Count test functions as well: one function with many parameters is one law, not many."""
    reports = [report for outcome in ("passed", "failed", "skipped") for report in terminalreporter.stats.get(outcome, [])]
    cases = {report.nodeid for report in reports}
    functions = {case.partition("[")[0] for case in cases}
    terminalreporter.write_line(f"{len(functions):,} test functions, {len(cases):,} cases")
