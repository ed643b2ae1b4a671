"""The head of a table: few dimensions that hold most of its energy, or none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.bundle.head import LARGEST, QUAD, SHARE, head_of


@pytest.mark.parametrize(
    ("energy", "head"),
    [
        ([1.0] + [0.0] * 15, 4),
        ([0.0] * 5 + [1.0] + [0.0] * 10, 8),  # wherever it lies, so that it can be measured in any order
        ([3.0] * 4 + [1.0] * 4, 4),  # three quarters exactly
        ([2.9] * 4 + [1.0] * 4, 8),
        ([10.0] * 8 + [1.0] * 8, 8),
        ([10.0] * 8 + [1.0] * 5, 13),  # 8 of 13 are too many
        ([1.0] * 64, 64),
        ([1.0, 0.0, 0.0, 0.0, 0.0, 0.0], 6),  # a quad is more than 0.6 of six dimensions,
        ([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 4),  # and less than that of seven
        ([1.0], 1),
        ([], 0),
        ([0.0] * 16, 16),
        ([np.nan] + [1.0] * 15, 16),
        ([np.inf] + [1.0] * 15, 16),
        ([1e308] * 4 + [1e300] * 12, 4),
        ([5e-324] + [0.0] * 15, 4),
    ],
)
def test_the_head_is_the_fewest_quads_that_hold_three_quarters(energy, head):
    assert head == head_of(np.array(energy))


@given(arrays(np.float64, st.integers(1, 70), elements=st.floats(0, 1e6)))
def test_a_head_holds_its_share_and_one_quad_less_does_not(energy):
    """Law: for any energy; all dimensions where there is no such head, or it were too large."""
    head, held = head_of(energy), np.cumsum(energy)

    enough = [
        n for n in range(QUAD, len(energy) + 1, QUAD) if n <= LARGEST * len(energy) and held[n - 1] > SHARE * held[-1] * (1 + 1e-9)
    ]
    if head < len(energy):
        assert (head % QUAD, head <= LARGEST * len(energy)) == (0, True)
        assert held[head - 1] >= SHARE * held[-1] * (1 - 1e-9)
        assert not [n for n in enough if n < head]
    else:
        assert not enough
