import pytest

from recoserve.search.kernel.library import Library, libraries

BUILT = libraries()


@pytest.fixture(scope="session", params=list(BUILT))
def library(request):
    """Each library that this processor can run; `tests.search.test_retrieval` has a test that there is one."""
    return Library(request.param, BUILT[request.param])
