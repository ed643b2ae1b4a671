"""How scorers of pairs are usually run to rank: their own ONNX graph, with one user repeated for every item."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve_bench.scorers.models import GENRES, Scorer


def features(scorer: Scorer, items: int) -> dict[str, Rows]:
    """The values of the inputs beside user and item: input -> int64 [N]."""
    return {"genre": np.arange(items) % GENRES} if scorer.genre else {}


class Tiled:
    """A scorer's own ONNX graph, which ranks for one user after another."""

    def __init__(self, path: Path, threads: int, scorer: Scorer, items: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry(
            "session.force_spinning_stop", "1"
        )  # as our own sessions do: idle threads leave the cores to the next system
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._shapes = {tensor.name: (-1, *tensor.shape[1:]) for tensor in self._session.get_inputs()}
        self._items = items
        self._item_inputs = {"item": np.arange(items), **features(scorer, items)}

    def top(self, users: list[int], k: int) -> list[Rows]:
        """The rows of each user's k best items, best first."""
        return [self._top(user, k) for user in users]

    def _top(self, user: int, k: int) -> Rows:
        scores = self.scores(user)
        best = np.argpartition(-scores, k)[:k] if k < len(scores) else np.arange(len(scores))
        return best[np.argsort(-scores[best], kind="stable")]

    def scores(self, user: int) -> Float32Array:
        """A user's score of every item, float32 [N]."""
        values: dict[str, Any] = {"user": np.full(self._items, user), **self._item_inputs}
        feeds = {name: values[name].reshape(shape) for name, shape in self._shapes.items()}
        scores: Float32Array = self._session.run(None, feeds)[0].reshape(-1)
        return scores
