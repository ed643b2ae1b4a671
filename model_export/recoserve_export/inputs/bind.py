"""A source and the ids that come with it: which rows of the model are served, and what each item's features are."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import ExportRefused
from recoserve_export.graph.dot_score import DotSource, Table
from recoserve_export.graph.network import GraphSource
from recoserve_export.graph.pair_scorer import Pairs, row_counts, side_counts
from recoserve_export.inputs.features import read_features, table_width
from recoserve_export.inputs.metadata import Ids, read_ids


@dataclass(frozen=True)
class Features:
    """What was given for the model's further inputs: files or values by input, and the names of their values."""

    given: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, Any] = field(default_factory=dict)

    @property
    def widths(self) -> dict[str, int | None]:
        """How many values of each feature an item has, where they come as a table; None where they don't."""
        return {name: table_width(values) for name, values in self.given.items()}


@dataclass(frozen=True)
class Bound:
    """A source whose rows are those of the ids, user's and item's, and what the report has to tell of them."""

    source: DotSource | Pairs
    ids: Mapping[str, Ids]
    notes: tuple[str, ...]


def bind(source: DotSource | GraphSource, user_ids: Any, item_ids: Any, features: Features) -> Bound:
    """Read both sides' ids, and the items' features; raises ExportRefused where they don't fit the model."""
    given = {"user": user_ids, "item": item_ids}
    if isinstance(source, DotSource):
        if features.given or features.names:
            names = ", ".join({**features.given, **features.names})
            raise ExportRefused(f"this model takes a user and an item alone, and has no input for {names}: leave them out")
        counts: dict[str, int | None] = {"user": source.users.rows, "item": source.items.rows}
    else:
        counts = side_counts(source)
    ids = {side: read_ids(side, given[side], count) for side, count in counts.items()}
    notes = tuple(note for each in ids.values() for note in each.notes)
    rows = {side: each.model_rows for side, each in ids.items() if each.model_rows is not None}
    if isinstance(source, DotSource):
        return Bound(_picked(source, rows), ids, notes)
    inputs = {name: source.network.inputs[name] for name in source.features}
    values, warnings = read_features(features.given, inputs, row_counts(source.network), ids["item"], features.names)
    return Bound(Pairs(source, ids["user"].count, ids["item"].count, values, rows), ids, (*notes, *warnings))


def _picked(source: DotSource, rows: Mapping[str, NDArray[np.int64]]) -> DotSource:
    """The same with some rows of its tables alone."""
    if not rows:
        return source
    users, items = (_rows_of(table, rows.get(side)) for side, table in (("user", source.users), ("item", source.items)))
    scores = source.scores

    def picked(user_rows: NDArray[np.int64], item_rows: NDArray[np.int64]) -> Any:
        chosen = {"user": user_rows, "item": item_rows}
        model_rows = [rows[side][each] if side in rows else each for side, each in chosen.items()]
        return scores(*model_rows) if scores else None

    return replace(source, users=users, items=items, scores=picked if scores else None)


def _rows_of(table: Table, rows: NDArray[np.int64] | None) -> Table:
    return table if rows is None else Table(table.name, table.values[rows])
