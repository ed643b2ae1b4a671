import numpy as np
import pytest

from tests.export.models import parity_tables, random_tables


@pytest.fixture
def tables():
    """Users and items of which each parity likes its own."""
    return parity_tables()


@pytest.fixture
def vectors():
    """Tables without any structure."""
    return random_tables()


@pytest.fixture
def ask():
    """Run a bundle's model.onnx with nothing but onnxruntime and numpy: (folder, rows, k) -> rows and scores."""
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
def nothing_left(target):
    """Asserts that an export left no trace."""

    def check():
        assert not target.exists()
        assert not target.parent.exists() or not list(target.parent.iterdir())

    return check
