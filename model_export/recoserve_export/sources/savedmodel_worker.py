"""The process that scores pairs by a SavedModel's own signature.

It writes TensorFlow's version, one line. Then, for each line that it reads, the path of an .npz of inputs and the path of an .npy
to write the scores to, with a tab in between, it writes `done` or `failed: reason`.

This file is read and run by another interpreter: it imports nothing of this package.
"""

import sys
from typing import Any

import numpy as np


def serve(folder: str) -> None:
    """Score until the input ends."""
    import tensorflow as tf  # type: ignore[import-untyped]

    model = tf.saved_model.load(
        folder
    )  # held in a name of its own: its variables are freed with it, the signature alone keeps none
    signature = model.signatures["serving_default"]
    _write_line(tf.__version__)
    for line in sys.stdin:
        inputs_path, scores_path = line.rstrip("\n").split("\t")
        try:
            scores = _scores(tf, signature, inputs_path)
        except Exception as error:  # noqa: BLE001  # whatever fails is the caller's to report
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
