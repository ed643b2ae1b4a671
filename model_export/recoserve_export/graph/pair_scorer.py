"""A model that scores pairs, bound to its users and items: how many there are, which rows of the model, and the items' features."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float64Array, Rows
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Arrays, GraphSource

BATCH = 1 << 14  # pairs in one run of a framework's forward


@dataclass(frozen=True)
class PairScorer:
    """A source that scores `user_count` x `item_count` pairs.

    `features` has the values of each further input, by its name: [item_count] or [item_count, *shape]. `model_rows` has, by "user"
    or "item", the model's row for each row of the bundle, int64 [user_count] or [item_count]; a side whose rows are the model's own
    is left out.
    """

    source: GraphSource
    user_count: int
    item_count: int
    features: Arrays = field(default_factory=dict)
    model_rows: Arrays = field(default_factory=dict)

    def values(self, user_rows: Rows, item_rows: Rows) -> dict[str, NDArray[Any]]:
        """The values of each input, by name, for pairs of rows: int64 [P] and int64 [P]."""
        return {**self._user_values(user_rows), **self._item_values(item_rows)}

    def feeds(self, user_rows: Rows, item_rows: Rows) -> dict[str, NDArray[Any]]:
        """The values of each input for pairs of rows, in the dtype and shape that the network takes: [P, *shape]."""
        return self._batched(self.values(user_rows, item_rows))

    def user_feeds(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """The values of the user input for some users, as the network takes them."""
        return self._batched(self._user_values(rows))

    def item_feeds(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """The values of the item input and of every feature for some items, as the network takes them."""
        return self._batched(self._item_values(rows))

    def scores(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
        """The framework's own score of each pair, float64 [P]; raises ExportRefused if one is NaN or infinite."""
        scores_by_batch = [
            self.source.scores(self.values(user_rows[batch], item_rows[batch])) for batch in batches(len(user_rows), BATCH)
        ]
        scores = np.concatenate([np.asarray(batch_scores, np.float64).reshape(-1) for batch_scores in scores_by_batch])
        if not np.isfinite(scores).all():
            pair = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise ExportRefused(
                f"the model's score of user row {user_rows[pair]} and item row {item_rows[pair]} is {scores[pair]}, and can't "
                "be ranked. Did training diverge? A lower learning rate or clipped gradients help"
            )
        return scores

    def _user_values(self, rows: Rows) -> dict[str, NDArray[Any]]:
        return {self.source.user: self._model_rows("user", rows)}

    def _item_values(self, rows: Rows) -> dict[str, NDArray[Any]]:
        return {self.source.item: self._model_rows("item", rows), **{name: values[rows] for name, values in self.features.items()}}

    def _model_rows(self, side: str, rows: Rows) -> Rows:
        return self.model_rows[side][rows] if side in self.model_rows else rows

    def _batched(self, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        inputs = self.source.network.inputs
        return {name: inputs[name].batch(array) for name, array in values.items()}


def batches(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover range(count)."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
