"""TensorFlow's SavedModels: how the other interpreter is found, and what is refused before it starts.

The real thing needs TensorFlow, which the tests don't install: TENSORFLOW_PYTHON names an interpreter that has it.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from recoserve.errors import ExportRefused
from recoserve_export import export_model
from recoserve_export.sources.savedmodel import PYTHON_VARIABLE, load

MODEL = """
import sys
import numpy as np
import tensorflow as tf

class Films(tf.Module):
    def __init__(self):
        tables = np.load(sys.argv[1])
        self.users, self.items, self.genres = (tf.Variable(tables[name]) for name in ("users", "items", "genres"))

    @tf.function(input_signature=[
        tf.TensorSpec([None], dtype, name) for name, dtype in (("user", tf.int64), ("movie", tf.int32), ("genre", tf.int64))
    ])
    def score(self, user, movie, genre):
        return tf.reduce_sum(tf.gather(self.users, user) * tf.gather(self.items, movie), 1) + tf.gather(self.genres, genre)

films = Films()
tf.saved_model.save(films, sys.argv[2], signatures=films.score)
"""


@pytest.fixture
def saved(tmp_path):
    """A function that makes a folder which looks like a SavedModel, with these operators in its graph."""

    def make(*operators):
        folder = tmp_path / "films"
        folder.mkdir()
        (folder / "saved_model.pb").write_bytes(b"".join(b"\x12" + bytes([len(name)]) + name.encode() for name in operators))
        return folder

    return make


def test_without_tensorflow_the_message_says_how_to_get_it(saved, target, assert_nothing_written, monkeypatch):
    """It goes into an interpreter of its own, since it requires other versions of the packages here."""
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)

    with pytest.raises(ExportRefused, match=f"pip install tensorflow tf2onnx, then set {PYTHON_VARIABLE}="):
        export_model(saved("MatMul"), target)
    assert_nothing_written()


@pytest.mark.parametrize(
    ("python", "message"), [("/no/such/python", "is no file"), (sys.executable, "No module named.*pip install tensorflow tf2onnx")]
)
def test_an_interpreter_that_can_not_convert_is_named(python, message, saved, target, monkeypatch):
    """One that isn't there, and one without TensorFlow."""
    monkeypatch.setenv(PYTHON_VARIABLE, python)

    with pytest.raises(ExportRefused, match=f"{python}.*{message}"):
        export_model(saved("MatMul"), target)


def test_a_graph_that_reaches_outside_is_refused_before_anything_loads_it(saved, target, monkeypatch):
    """Files and Python code are no part of a score."""
    monkeypatch.setenv(PYTHON_VARIABLE, "/no/such/python")

    with pytest.raises(ExportRefused, match=r"reaches outside of the model \(WriteFile, EagerPyFunc\)"):
        export_model(saved("MatMul", "WriteFile", "EagerPyFunc"), target)


def test_a_folder_of_no_model_is_refused(tmp_path):
    """The message names the missing graph."""
    with pytest.raises(ExportRefused, match=r"saved_model.pb: No such file"):
        load(tmp_path)


@pytest.mark.skipif(PYTHON_VARIABLE not in os.environ, reason=f"{PYTHON_VARIABLE} names no interpreter with TensorFlow and tf2onnx")
def test_a_savedmodel_is_exported_by_the_names_of_its_inputs(vectors, tmp_path, target, top_k):
    """They come back in alphabetical order, and each is bound by its name; its scores are those of its own signature."""
    genres = np.arange(60) % 3
    np.savez(tmp_path / "tables.npz", users=vectors[0], items=vectors[1], genres=np.array([0.0, 9.0, -9.0], np.float32))
    subprocess.run(
        [os.environ[PYTHON_VARIABLE], "-c", MODEL, tmp_path / "tables.npz", tmp_path / "films"], check=True, capture_output=True
    )

    report = export_model(tmp_path / "films", target, item_features={"genre": genres})

    expected = vectors[0].astype(np.float64) @ vectors[1].astype(np.float64).T + np.array([0, 9, -9])[genres]
    assert report.parity["framework_pairs"] == 2400
    assert np.argsort(-expected, axis=1)[:, :5].tolist() == top_k(target, range(40), 5)[0].tolist()
