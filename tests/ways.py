"""The ways to the best items, all of them exact: by the kernel, by the graphs in its place, by a plain scan."""

from contextlib import contextmanager

import pytest

from recoserve.scheduling import loader
from recoserve.search.bounded_search import BoundedSearch, FullScan
from recoserve.search.kernel import library
from recoserve.search.kernel_search import KernelSearch

WAYS = ("exact", "graphs", "plain")


@contextmanager
def found_by(way):
    """Models that are loaded within take the way, whatever the size of their catalogue; yields the setting that goes with it.

    "exact" is the kernel where this processor has one, as it is in the service.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "WORTH_SCREENING", 0)  # the screen starts where it pays, which is later than tests can wait for
        if way == "graphs":
            patch.setattr(library, "best", lambda: None)
        yield "plain" if way == "plain" else "exact"


def takes(model, way):
    """Whether a loaded model takes that way."""
    kinds = {"exact": KernelSearch if library.libraries() else BoundedSearch, "graphs": BoundedSearch, "plain": FullScan}
    return isinstance(model._retrieval, kinds[way])
