"""Leading dimensions: as few as hold most of a table's energy, or all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recoserve.bundle.leading_dimensions import ENERGY_SHARE, LARGEST_SHARE, QUAD, SMALLEST_SHARE, count_leading_dimensions


@pytest.mark.parametrize(
    ("energy", "leading"),
    [
        ([10.0] * 32 + [1.0] * 32, 28),
        ([3.0] * 24 + [1.0] * 24, 24),  # three quarters exactly
        ([2.9] * 24 + [1.0] * 24, 28),
        ([2.9] * 24 + [1.0] * 20, 24),
        ([10.0] * 8 + [1.0] * 5, 13),  # 8 of 13 are too many
        ([1.0] * 64, 64),
        ([1.0] + [0.0] * 63, 24),  # fewer than three eighths would make all steps coarse
        ([0.0] * 25 + [1.0] + [0.0] * 38, 28),  # wherever it lies: dimensions are not sorted first
        ([1.0, 0.0, 0.0, 0.0, 0.0, 0.0], 6),  # a quad is more than 0.6 of six dimensions,
        ([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 4),  # and less than that of seven
        ([1.0], 1),
        ([], 0),
        ([0.0] * 16, 16),
        ([np.nan] + [1.0] * 15, 16),
        ([np.inf] + [1.0] * 15, 16),
        ([1e308] * 8 + [1e300] * 8, 8),
        ([5e-324] * 8 + [0.0] * 8, 8),
    ],
)
def test_the_leading_dimensions_are_the_fewest_quads_that_hold_three_quarters(energy, leading):
    assert leading == count_leading_dimensions(np.array(energy))


@given(arrays(np.float64, st.integers(1, 70), elements=st.floats(0, 1e6)))
def test_leading_dimensions_hold_their_share_and_fewer_do_not(energy):
    """Law: for any energy; all dimensions lead where no smaller number of them would do, or only one that is too large."""
    dim, leading, cumulative = len(energy), count_leading_dimensions(energy), np.cumsum(energy)
    allowed = [count for count in range(QUAD, dim, QUAD) if SMALLEST_SHARE * dim - QUAD / 2 <= count <= LARGEST_SHARE * dim]
    enough = [count for count in allowed if cumulative[count - 1] > ENERGY_SHARE * cumulative[-1] * (1 + 1e-9)]

    if leading == dim:
        assert not enough
    else:
        assert leading in allowed
        assert cumulative[leading - 1] >= ENERGY_SHARE * cumulative[-1] * (1 - 1e-9)
        assert not [count for count in enough if count < leading]
