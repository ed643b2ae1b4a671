"""The check that every answer of `recoserve bench exclusions` goes through."""

import numpy as np
import pytest

from recoserve_bench.exclusions import faulty

ALLOWED = np.array([True, True, False, True])


@pytest.mark.parametrize("items", [[], [0], [3, 0]])
def test_a_list_of_what_may_be_there_is_fine(items):
    assert not faulty(items, ALLOWED, 2)


@pytest.mark.parametrize("items", [[2], [0, 2], [1, 1], [0, 1, 3]])
def test_an_excluded_item_a_double_and_a_long_list_are_found(items):
    assert faulty(items, ALLOWED, 2)
