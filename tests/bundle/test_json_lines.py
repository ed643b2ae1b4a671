"""JSON Lines: every value comes back by its line number, and a file that was cut off is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.bundle.json_lines import JsonLines, encode_lines
from recoserve.errors import BundleInvalid


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), min_size=1))
def test_every_value_comes_back_by_its_line_number(values):
    """Law: JsonLines(encode_lines(values))[i] == values[i]."""
    lines = JsonLines(np.frombuffer(b"".join(encode_lines(values)), np.uint8))

    assert values == [lines[row] for row in range(len(lines))]


def test_a_cut_off_line_is_refused():
    with pytest.raises(BundleInvalid, match="cut off"):
        JsonLines(np.frombuffer(b'{"a": 1}\n{"b"', np.uint8))
