import numpy as np
import pytest


@pytest.fixture
def write(tmp_path):
    """Write a file and get its path: text as UTF-8, bytes as they are, an array as .npy."""

    def to(name, body):
        path = tmp_path / name
        if isinstance(body, np.ndarray):
            np.save(path, body)
        else:
            path.write_bytes(body if isinstance(body, bytes) else body.encode())
        return path

    return to
