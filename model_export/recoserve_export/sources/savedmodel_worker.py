"""The program of the process that scores pairs by a SavedModel's own signature.

It first writes a line with TensorFlow's version. Each line that it reads has two paths with a tab between them: an .npz file of
inputs, and an .npy file to write the scores to. For each it writes a line, `done` or `failed: reason`.

Another interpreter runs this program, so it imports nothing of this package.
"""

import sys
from typing import Any

import numpy as np


def serve(folder: str) -> None:
    """Score by the model in `folder` until stdin ends."""
    import tensorflow as tf  # type: ignore[import-untyped]

    model = tf.saved_model.load(folder)  # kept in a variable: the signature alone doesn't keep the model's variables alive
    signature = model.signatures["serving_default"]
    _write_line(tf.__version__)
    for line in sys.stdin:
        inputs_path, scores_path = line.rstrip("\n").split("\t")
        try:
            scores = _scores(tf, signature, inputs_path)
        except Exception as error:  # noqa: BLE001  # the caller reports it, whatever it is
            _write_line(f"failed: {' '.join(str(error).split())[:300]}")
            continue
        np.save(scores_path, scores)
        _write_line("done")


def _write_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _scores(tf: Any, signature: Any, inputs_path: str) -> Any:
    with np.load(inputs_path) as values:
        outputs = signature(**{name: tf.constant(values[name]) for name in values.files})
    (scores,) = outputs.values()
    return scores.numpy()


if __name__ == "__main__":
    serve(sys.argv[1])
