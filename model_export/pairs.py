"""A model that scores pairs, bound to its catalogue: how many rows it has, what each item's features are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_export.formula import Scores
from model_export.network import Arrays, GraphSource, Network
from model_export.samples import Rows
from service.errors import ExportRefused

BATCH = 1 << 14  # pairs in one run of a framework's forward
FLOAT_IDS = 1 << 24  # a float32 holds every whole number up to here


@dataclass(frozen=True)
class Pairs:
    """A source with `users` and `items` rows; `features` has each further input's values, [items] or [items, *shape].

    `model_rows` has, for a side whose rows are not the model's own, the model's row of each: int64 [users] or [items].
    """

    source: GraphSource
    users: int
    items: int
    features: Arrays = field(default_factory=dict)
    model_rows: Arrays = field(default_factory=dict)

    def values(self, user_rows: Rows, item_rows: Rows) -> dict[str, NDArray[Any]]:
        """Each input's values for pairs of rows, [P] and [P], by name."""
        return {**self._of_user(user_rows), **self._of_item(item_rows)}

    def feeds(self, user_rows: Rows, item_rows: Rows) -> dict[str, NDArray[Any]]:
        """The same as the network takes them."""
        return self._batched(self.values(user_rows, item_rows))

    def user_feeds(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """What the user's side alone takes, for some rows."""
        return self._batched(self._of_user(rows))

    def item_feeds(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """What the item's side alone takes, for some rows of the catalogue."""
        return self._batched(self._of_item(rows))

    def scores(self, user_rows: Rows, item_rows: Rows) -> Scores:
        """The framework's own score of each pair, float64 [P]; raises ExportRefused where one is no number."""
        parts = [self.source.scores(self.values(user_rows[part], item_rows[part])) for part in batches(len(user_rows), BATCH)]
        found = np.concatenate([np.asarray(part, np.float64).reshape(-1) for part in parts])
        if not np.isfinite(found).all():
            place = int(np.flatnonzero(~np.isfinite(found))[0])
            raise ExportRefused(
                f"the model's score of user row {user_rows[place]} and item row {item_rows[place]} is {found[place]}: no ranking "
                "can come of it. Did training diverge? A lower learning rate or clipped gradients help"
            )
        return found

    def _of_user(self, rows: Rows) -> dict[str, NDArray[Any]]:
        return {self.source.user: self._model_rows("user", rows)}

    def _of_item(self, rows: Rows) -> dict[str, NDArray[Any]]:
        return {self.source.item: self._model_rows("item", rows), **{name: values[rows] for name, values in self.features.items()}}

    def _model_rows(self, side: str, rows: Rows) -> Rows:
        return self.model_rows[side][rows] if side in self.model_rows else rows

    def _batched(self, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        inputs = self.source.network.inputs
        return {name: inputs[name].batch(each) for name, each in values.items()}


def batches(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size`."""
    return (slice(at, min(at + size, count)) for at in range(0, count, size))


def row_counts(network: Network) -> dict[str, int]:
    """How many rows each input may name: those of the smallest table that is looked up with it alone.

    Inputs that look nothing up are left out.
    """
    reached: dict[str, frozenset[str]] = {name: frozenset([name]) for name in network.inputs}
    counts: dict[str, int] = {}
    for node in network.nodes:
        inputs = frozenset[str]().union(*(reached.get(name, frozenset()) for name in node.input))
        reached |= dict.fromkeys(node.output, inputs)
        table = network.constants.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or table.ndim != 2 or any(each.name == "axis" and each.i for each in node.attribute):
            continue
        (*_, index) = node.input
        if len(reached.get(index, ())) == 1:
            (name,) = reached[index]
            counts[name] = min(counts.get(name, len(table)), len(table))
    return counts


def side_counts(source: GraphSource) -> dict[str, int]:
    """The rows of `user` and `item`, those of the model's own tables; raises ExportRefused."""
    found = row_counts(source.network)
    counts = {}
    for side, name in (("user", source.user), ("item", source.item)):
        if name not in found:
            raise ExportRefused(
                f"can't tell how many {side}s the model knows: its input {name!r} looks up no embedding table by itself. "
                f"Is another input the {side}'s? Name it with --{side}-input"
            )
        if source.network.inputs[name].dtype.kind == "f" and found[name] > FLOAT_IDS:
            raise ExportRefused(
                f"input {name!r} takes ids as float32, which is exact up to 2^24 only, and its table has {found[name]} rows: "
                "declare the input with dtype int64"
            )
        counts[side] = found[name]
    return counts
