import pytest

from tests.web import evens


@pytest.fixture(scope="session")
def even_bundles(tmp_path_factory):
    """Folders of bundles, not to be changed: one for each kind of id, a bare one, and one of format 1."""
    return [*evens.make_bundles(tmp_path_factory.mktemp("evens")), evens.FORMAT_1]
