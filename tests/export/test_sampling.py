"""Which rows are compared where not all can be."""

import numpy as np
import pytest

from recoserve_export.sampling import sample_rows


@pytest.mark.parametrize(("count", "size"), [(1, 5), (5, 5), (6, 5), (1000, 64), (10**12, 8), (3, 2)])
def test_a_sample_has_distinct_rows_and_both_ends(count, size):
    """In ascending order; it is all rows where there are no more than asked for."""
    rows = sample_rows(count, size, seed=0)

    assert min(count, size) == len(set(rows.tolist())) == len(rows)
    assert (0, count - 1) == (rows[0], rows[-1])
    assert (np.diff(rows) > 0).all()
