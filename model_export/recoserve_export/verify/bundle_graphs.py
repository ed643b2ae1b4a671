"""Runs the graphs of a bundle's folder in ONNX Runtime, as any program does that has nothing but the folder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle import contract
from recoserve.bundle.arrays import Float32Array, Rows
from recoserve_export.graph import onnx_runtime

BOUND_USERS = 8  # users for whom the bounds of all blocks are compared
# A query is rounded to 7 bits here: at 8, sums saturate silently on processors without VNNI, and a bound would fail on these alone.
EXACT_LEVELS = 63
BATCH_SCORES = 1 << 22  # 16 MiB of float32 scores per run of a graph


@dataclass(frozen=True)
class GraphOutputs:
    """What the graphs return for S users, the k best items, and M items to score.

    `rows` int64 and `scores` float32 [S, k], best first; `pair_scores` float32 [S, M], of every user with every item to score;
    `bounds` float32 [up to BOUND_USERS, blocks], the int8 index's bounds for the first users; of no blocks without such an index.
    """

    rows: Rows
    scores: Float32Array
    pair_scores: Float32Array
    bounds: Float32Array


class BundleGraphs:
    """The graphs of a folder, a session each. No manifest is read: at export there is none yet."""

    def __init__(self, folder: Path) -> None:
        runtime = onnx_runtime.load()
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # fatal errors only: a row that is refused raises an exception, and needs no log line
        # Otherwise large tables are copied instead of memory-mapped.
        options.add_session_config_entry("session.disable_prepacking", "1")
        self._errors = onnx_runtime.refusals(runtime)
        self._sessions = {
            role: runtime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
            for names in (contract.GRAPHS, contract.QUERY_GRAPHS, contract.SCREEN_GRAPHS, contract.FINISH_GRAPHS)
            for role, name in names.items()
            if (folder / name).exists()
        }

    def has(self, *roles: str) -> bool:
        """True if the folder has a graph for each of these roles."""
        return set(roles) <= self._sessions.keys()

    def run(self, role: str, outputs: list[str], **feed: NDArray[Any]) -> list[Any]:
        """The outputs called `outputs` of the graph with this role, for the inputs in `feed`."""
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
        """The int8 index's bound on the scores of every block, for each user, [S, blocks]; [S, 0] without such an index."""
        if not self.has(contract.SCREEN):
            return np.zeros((len(users), 0), np.float32)
        levels, best_count = np.array([EXACT_LEVELS], np.float32), np.array([1])  # the graph's best blocks are not needed here
        feed = {contract.QUERY: self.user_vectors(users), contract.LEVELS: levels, contract.BLOCKS: best_count}
        bounds_in_units, unit = self.run(contract.SCREEN, [contract.BOUND, contract.UNIT], **feed)
        bounds: Float32Array = bounds_in_units * unit
        return bounds

    def outputs(self, users: Rows, items: Rows, k: int, item_count: int) -> GraphOutputs:
        """Everything that parity compares, computed in batches of bounded size; the model has `item_count` items."""
        batches = [users[batch] for batch in score_batches(len(users), max(item_count, len(items)))]
        rows, scores = zip(*(self.recommend(batch, k) for batch in batches), strict=True)
        pair_scores = np.concatenate([self.score(batch, items) for batch in batches])
        return GraphOutputs(np.concatenate(rows), np.concatenate(scores), pair_scores, self.bounds(users[:BOUND_USERS]))

    def refuses(self, run: Callable[..., Any], *arguments: Any) -> bool:
        """True if `run(*arguments)`, which runs a graph, ends in an error of ONNX Runtime."""
        try:
            run(*arguments)
        except self._errors:
            return True
        return False


def score_batches(user_count: int, scores_per_user: int) -> Iterator[slice]:
    """Slices that cover range(user_count), each with `BATCH_SCORES` scores at most, but at least with one user."""
    size = max(1, BATCH_SCORES // scores_per_user)
    return (slice(start, min(start + size, user_count)) for start in range(0, user_count, size))
