"""The check that every response of `recoserve bench exclusions` goes through."""

import numpy as np
import pytest

from recoserve_bench.exclusions import is_faulty

ALLOWED = np.array([True, True, False, True])


@pytest.mark.parametrize("items", [[], [0], [3, 0]])
def test_a_list_of_allowed_items_is_right(items):
    assert not is_faulty(items, ALLOWED, 2)


@pytest.mark.parametrize("items", [[2], [0, 2], [1, 1], [0, 1, 3]])
def test_a_list_with_an_excluded_item_an_item_twice_or_too_many_is_faulty(items):
    assert is_faulty(items, ALLOWED, 2)
