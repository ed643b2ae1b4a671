"""The exact searches over all items: by the kernel, by the graphs that stand in for it, by a full scan."""

from contextlib import contextmanager

import pytest

from recoserve.scheduling import loader
from recoserve.search.bounded_search import BoundedSearch
from recoserve.search.full_scan import FullScan
from recoserve.search.kernel import library
from recoserve.search.kernel_search import KernelSearch

SEARCHES = ("exact", "graphs", "plain")


@contextmanager
def searching_by(search):
    """Models that are loaded within search by one of SEARCHES, however few their items; yields the retrieval setting for it.

    "exact" is the kernel where this processor has one, as it is in the service.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "MIN_BOUNDED_ITEMS", 0)  # bounds start where they pay, at more items than a test can wait for
        if search == "graphs":
            patch.setattr(library, "load_best", lambda: None)
        yield "plain" if search == "plain" else "exact"


def searches_by(model, search):
    """Whether a loaded model searches by that one of SEARCHES."""
    kinds = {"exact": KernelSearch if library.libraries() else BoundedSearch, "graphs": BoundedSearch, "plain": FullScan}
    return isinstance(model._search, kinds[search])
