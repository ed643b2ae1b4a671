"""Tables to search: unit rows, the same rows again, and no half tables."""

import numpy as np
import pytest

from recoserve_bench.tables import CHUNK, write_tables


@pytest.mark.parametrize("kind", ["clustered", "random"])
def test_rows_are_float32_of_unit_length(tmp_path, kind):
    for path, rows in zip(write_tables(tmp_path, kind, 300, 20, 8), (20, 300), strict=True):
        table = np.load(path)

        assert (table.shape, table.dtype) == ((rows, 8), np.float32)
        assert np.allclose(np.linalg.norm(table, axis=1), 1, atol=1e-6)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".npy", ".npy"]


@pytest.mark.parametrize("kind", ["clustered", "random"])
def test_the_first_rows_do_not_depend_on_how_many_follow(tmp_path, kind):
    _, short = write_tables(tmp_path, kind, 100, 1, 4)
    _, long = write_tables(tmp_path, kind, CHUNK + 10, 1, 4)

    assert np.array_equal(np.load(short), np.load(long, mmap_mode="r")[:100])


def test_clustered_items_have_near_neighbours_and_random_ones_have_not(tmp_path):
    nearest = {}
    for kind in ("clustered", "random"):
        users, items = map(np.load, write_tables(tmp_path, kind, 5000, 50, 64))
        nearest[kind] = (users @ items.T).max(axis=1).mean()

    assert nearest["clustered"] > 0.6 > nearest["random"]
