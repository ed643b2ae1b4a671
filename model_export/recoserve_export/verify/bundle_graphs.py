"""A folder's graphs run in ONNX Runtime, as any program would run them that has the folder and nothing else."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle import contract
from recoserve.bundle.arrays import Float32Array, Rows

BOUND_USERS = 8
EXACT_LEVELS = 63  # 7 bits of query: at 8, processors without VNNI saturate silently, and a bound fails that holds elsewhere
BATCH_SCORES = 1 << 22  # 16 MiB of float32 scores per run of a graph


@dataclass(frozen=True)
class GraphOutputs:
    """What the graphs return for S users, the k best items, and M items to score.

    `rows` int64 and `scores` float32 [S, k], best first; `pair_scores` float32 [S, M], of every user with every item to score;
    `bounds` float32 [the first few users, blocks], those of the int8 index, of no blocks where there is none.
    """

    rows: Rows
    scores: Float32Array
    pair_scores: Float32Array
    bounds: Float32Array


class BundleGraphs:
    """Every graph of the folder in a session of its own, without its manifest: at export there is none yet."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library is loaded
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # a row that is refused is an exception here, not an error for the log
        options.add_session_config_entry("session.disable_prepacking", "1")  # else large tables are copied, not mapped
        state = onnxruntime.capi.onnxruntime_pybind11_state
        self._errors: tuple[type[Exception], ...] = (state.Fail, state.RuntimeException, state.InvalidArgument)
        self._sessions = {
            role: onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
            for names in (contract.GRAPHS, contract.QUERY_GRAPHS, contract.SCREEN_GRAPHS, contract.FINISH_GRAPHS)
            for role, name in names.items()
            if (folder / name).exists()
        }

    def has(self, *roles: str) -> bool:
        """Whether the folder has a graph for each of these roles."""
        return set(roles) <= self._sessions.keys()

    def run(self, role: str, outputs: list[str], **feed: NDArray[Any]) -> list[Any]:
        """The named outputs of one graph."""
        arrays: list[Any] = self._sessions[role].run(outputs, feed)
        return arrays

    def recommend(self, users: Rows, k: int) -> tuple[Rows, Float32Array]:
        """The k best items of each user and their scores, [S, k] each."""
        feed = {contract.USER_ID: users, contract.K: np.array([k])}
        rows, scores = self.run(contract.RECOMMEND, [contract.ITEM_ID, contract.SCORE_OUT], **feed)
        return rows, scores

    def score(self, users: Rows, items: Rows) -> Float32Array:
        """The scores of every user with every item, [S, M]."""
        scores: Float32Array
        (scores,) = self.run(contract.SCORE, [contract.SCORE_OUT], **{contract.USER_ID: users, contract.ITEM_ID: items})
        return scores

    def user_vectors(self, users: Rows) -> Float32Array:
        """The vectors of users, [S, d]; only a model that is one dot product has a graph for them."""
        vectors: Float32Array
        (vectors,) = self.run(contract.USER, [contract.QUERY], **{contract.USER_ID: users})
        return vectors

    def bounds(self, users: Rows) -> Float32Array:
        """The int8 index's bound of every block for each user, [S, blocks]; of no blocks where there is no index."""
        if not self.has(contract.SCREEN):
            return np.zeros((len(users), 0), np.float32)
        levels, blocks = np.array([EXACT_LEVELS], np.float32), np.array([1])
        feed = {contract.QUERY: self.user_vectors(users), contract.LEVELS: levels, contract.BLOCKS: blocks}
        bounds, unit = self.run(contract.SCREEN, [contract.BOUND, contract.UNIT], **feed)
        products: Float32Array = bounds * unit
        return products

    def outputs(self, users: Rows, items: Rows, k: int, catalogue_size: int) -> GraphOutputs:
        """Everything that parity compares, computed in batches of bounded size."""
        batches = [users[batch] for batch in score_batches(len(users), max(catalogue_size, len(items)))]
        rows, scores = zip(*(self.recommend(batch, k) for batch in batches), strict=True)
        pair_scores = np.concatenate([self.score(batch, items) for batch in batches])
        return GraphOutputs(np.concatenate(rows), np.concatenate(scores), pair_scores, self.bounds(users[:BOUND_USERS]))

    def refuses(self, run: Callable[..., Any], *arguments: Any) -> bool:
        """Whether a run of a graph ends in an error of the runtime."""
        try:
            run(*arguments)
        except self._errors:
            return True
        return False


def score_batches(rows: int, width: int) -> Iterator[slice]:
    """Slices that cover range(rows), so that a batch of rows with `width` scores each has `BATCH_SCORES` at most."""
    size = max(1, BATCH_SCORES // width)
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
