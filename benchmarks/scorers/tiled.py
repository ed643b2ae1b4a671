"""The usual way to rank with a scorer of pairs: its own ONNX graph, run on one user repeated for every item of the catalogue."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray


def export(module: Any, inputs: tuple[str, ...], to: Path) -> None:
    """The module as torch's own exporter writes it, the number of pairs left open."""
    import torch

    module.eval()
    examples = {name: torch.tensor([place, place + 1, place + 2]) for place, name in enumerate(inputs)}
    rows = {name: {0: torch.export.Dim.DYNAMIC} for name in inputs}
    torch.onnx.export(module, (), str(to), kwargs=examples, dynamic_shapes=rows, dynamo=True, verbose=False)


class Tiled:
    """Top-k of a user after a user; `features` has one value per item for each further input."""

    def __init__(self, path: Path, threads: int, items: int, features: Mapping[str, NDArray[Any]]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.force_spinning_stop", "1")  # as our own sessions: it leaves the cores to the next
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._given = {"item": np.arange(items), **features}

    def top(self, users: list[int], k: int) -> list[NDArray[np.int64]]:
        """Rows of the k best items of each user, best first."""
        return [self._top(user, k) for user in users]

    def _top(self, user: int, k: int) -> NDArray[np.int64]:
        scores = self.scores(user)
        best = np.argpartition(-scores, k)[:k] if k < len(scores) else np.arange(len(scores))
        return best[np.argsort(-scores[best], kind="stable")]

    def scores(self, user: int) -> NDArray[np.float32]:
        """Of every item."""
        given = {"user": np.full(len(self._given["item"]), user), **self._given}
        scores: NDArray[np.float32] = self._session.run(None, given)[0].reshape(-1)
        return scores
