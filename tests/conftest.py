import os
import shutil

import pytest

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # for the tests that use the runtime themselves

from tests.bundles import make_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A whole bundle, not to be changed: even users like even items."""
    return make_bundle(tmp_path_factory.mktemp("models") / "evens" / "1")


@pytest.fixture
def own_bundle(bundle, tmp_path):
    """A copy of it, for a test that damages it."""
    return shutil.copytree(bundle, tmp_path / "evens")
