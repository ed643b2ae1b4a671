"""The usual way to rank with a scorer of pairs: its own ONNX graph, run on one user repeated for every item of the catalogue."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from recoserve_bench.scorers.models import GENRES, Scorer


def features(scorer: Scorer, items: int) -> dict[str, NDArray[np.int64]]:
    """One value per item for each further input."""
    return {"genre": np.arange(items) % GENRES} if scorer.genre else {}


class Tiled:
    """Top-k of a user after a user."""

    def __init__(self, path: Path, threads: int, scorer: Scorer, items: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.force_spinning_stop", "1")  # as our own sessions: it leaves the cores to the next
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._shapes = {each.name: (-1, *each.shape[1:]) for each in self._session.get_inputs()}
        self._items = items
        self._given = {"item": np.arange(items), **features(scorer, items)}

    def top(self, users: list[int], k: int) -> list[NDArray[np.int64]]:
        """Rows of the k best items of each user, best first."""
        return [self._top(user, k) for user in users]

    def _top(self, user: int, k: int) -> NDArray[np.int64]:
        scores = self.scores(user)
        best = np.argpartition(-scores, k)[:k] if k < len(scores) else np.arange(len(scores))
        return best[np.argsort(-scores[best], kind="stable")]

    def scores(self, user: int) -> NDArray[np.float32]:
        """Of every item."""
        given: dict[str, Any] = {"user": np.full(self._items, user), **self._given}
        feeds = {name: given[name].reshape(shape) for name, shape in self._shapes.items()}
        scores: NDArray[np.float32] = self._session.run(None, feeds)[0].reshape(-1)
        return scores
