import shutil

import pytest

from tests.bundles import make_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A whole bundle, not to be changed: even users like even items."""
    return make_bundle(tmp_path_factory.mktemp("models") / "evens" / "1")


@pytest.fixture
def own_bundle(bundle, tmp_path):
    """A copy of it, for a test that damages it."""
    return shutil.copytree(bundle, tmp_path / "evens")
