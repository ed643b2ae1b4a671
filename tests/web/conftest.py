import pytest

from tests.web import evens


@pytest.fixture(scope="session")
def even_bundles(tmp_path_factory):
    """Whole bundles, not to be changed: one for each kind of id, a bare one, and one of the old format."""
    return [*evens.make(tmp_path_factory.mktemp("evens")), evens.OLD]
