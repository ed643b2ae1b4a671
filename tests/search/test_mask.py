"""A mask is a set of rows, whatever the number of items."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.search.mask import Mask


@given(st.integers(1, 100), st.data())
def test_a_mask_is_the_set_of_its_rows(items, data):
    """Law: rows, count, passes and blocks describe one set; & is intersection, `inverted` the complement. Padding never passes."""
    rows, other_rows = (data.draw(st.sets(st.integers(0, items - 1))) for _ in range(2))
    mask, other = (Mask.of_rows(np.array(sorted(passing), np.int64)[::-1], items) for passing in (rows, other_rows))
    blocks = -(-items // 32)
    padded = np.arange(blocks * 32).reshape(2, -1)

    assert (sorted(rows), len(rows)) == (mask.rows().tolist(), mask.count)
    assert mask.passes(padded).tolist() == [[row in rows for row in half] for half in padded.tolist()]
    assert mask.blocks().tolist() == [any(row // 32 == block for row in rows) for block in range(blocks)]
    assert sorted(rows & other_rows) == (mask & other).rows().tolist()
    assert sorted(set(range(items)) - rows) == mask.inverted(items).rows().tolist()
    assert (mask.bits.dtype, len(mask.bits), mask.rows().dtype) == (np.uint8, 4 * blocks, np.int64)


def test_a_mask_cannot_be_written():
    """All requests with the same filter share it."""
    with pytest.raises(ValueError, match="read-only"):
        Mask.of_rows(np.array([1]), 40).bits[0] = 1
