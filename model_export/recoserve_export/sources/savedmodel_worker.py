"""A SavedModel's own scores, in a process with TensorFlow: its version out, then for each line in of an input's and an output's
path `done` or `failed: reason`.

This file is read and run by another interpreter: it imports nothing of this package.
"""

import sys
from typing import Any

import numpy as np


def serve(folder: str) -> None:
    """Answer until the input ends."""
    import tensorflow as tf  # type: ignore[import-untyped]

    loaded = tf.saved_model.load(folder)  # kept, or its variables would go with it
    signature = loaded.signatures["serving_default"]
    _say(tf.__version__)
    for line in sys.stdin:
        given, wanted = line.rstrip("\n").split("\t")
        try:
            answer = _run(tf, signature, given)
        except Exception as error:  # noqa: BLE001  # the caller has to hear of any failure
            _say(f"failed: {' '.join(str(error).split())[:300]}")
            continue
        np.save(wanted, answer)
        _say("done")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _run(tf: Any, signature: Any, given: str) -> Any:
    with np.load(given) as values:
        found = signature(**{name: tf.constant(values[name]) for name in values.files})
    (answer,) = found.values()
    return answer.numpy()


if __name__ == "__main__":
    serve(sys.argv[1])
