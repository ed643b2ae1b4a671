import pytest

from recoserve.search.kernel.library import KernelLibrary, libraries

BUILT = libraries()


@pytest.fixture(scope="session", params=list(BUILT))
def library(request):
    """Each library that this processor can run; `tests.search.test_exact_search` has a test that there is one."""
    return KernelLibrary(request.param, BUILT[request.param])
