"""A model that scores pairs, bound to its catalogue: how many rows it has, what each item's features are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float64Array, Rows
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Arrays, GraphSource, Network, Node

BATCH = 1 << 14  # pairs in one run of a framework's forward
LOOKUPS = ("Gather", "GatherND")
PASSING = ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten")  # an id is the same behind these
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

    def scores(self, user_rows: Rows, item_rows: Rows) -> Float64Array:
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
    """How many rows each input may name: those of the smallest table that is looked up with it as it is.

    Left out are inputs that look nothing up, or that something is computed of first: what that gives is no row of theirs.
    """
    direct = {name: name for name in network.inputs}
    makers = {name: node for node in network.nodes for name in node.output}
    counts: dict[str, int] = {}
    for node in network.nodes:
        passed = _passed(node, makers)
        if passed in direct:
            direct[node.output[0]] = direct[passed]
        table = network.constants.get(node.input[0]) if node.op_type in LOOKUPS else None
        if table is None or not table.ndim or any(each.name in ("axis", "batch_dims") and each.i for each in node.attribute):
            continue
        name = direct.get(node.input[1])
        if name:
            counts[name] = min(counts.get(name, len(table)), len(table))
    return counts


def _passed(node: Node, makers: Mapping[str, Node]) -> str | None:
    """The value that a node hands on, as far as rows go: none is negative, so that counting from the end changes none."""
    if node.op_type in PASSING:
        return str(node.input[0])
    condition = makers.get(node.input[0]) if node.op_type == "Where" else None
    if condition is not None and condition.op_type == "Less" and condition.input[0] == node.input[2]:
        return str(node.input[2])
    return None


def side_counts(source: GraphSource) -> dict[str, int | None]:
    """The rows of `user` and `item`, those of the model's own tables, None where it looks up none by them; raises ExportRefused."""
    found = row_counts(source.network)
    for side, name in (("user", source.user), ("item", source.item)):
        if source.network.inputs[name].dtype.kind == "f" and found.get(name, 0) > FLOAT_IDS:
            raise ExportRefused(
                f"the {side} input {name!r} takes ids as float32, which is exact up to 2^24 only, and its table has {found[name]} "
                "rows: declare the input with dtype int64"
            )
    return {"user": found.get(source.user), "item": found.get(source.item)}
