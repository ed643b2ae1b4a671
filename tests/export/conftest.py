import numpy as np
import pytest

from tests.export.models import parity_tables, random_tables


@pytest.fixture
def tables():
    """A user and an item table by which even users like even items, and odd users odd ones."""
    return parity_tables()


@pytest.fixture
def vectors():
    """A user and an item table of random numbers."""
    return random_tables()


@pytest.fixture
def top_k():
    """Rank by a bundle's model.onnx with nothing but onnxruntime and numpy: (folder, user rows, k) -> item rows and scores."""
    import onnxruntime

    def run(folder, rows, k):
        session = onnxruntime.InferenceSession(folder / "model.onnx")
        return session.run(["item_id", "score"], {"user_id": np.array(rows, np.int64), "k": np.array([k])})

    return run


@pytest.fixture
def target(tmp_path):
    """Where a bundle is to be written."""
    return tmp_path / "models" / "parity" / "1"


@pytest.fixture
def assert_nothing_written(target):
    """Asserts that an export left no trace."""

    def check():
        assert not target.exists()
        assert not target.parent.exists() or not list(target.parent.iterdir())

    return check
