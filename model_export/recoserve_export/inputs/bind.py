"""Binds a source to the ids and features that come with it: which of the model's rows are served, and under which ids."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from recoserve.bundle.arrays import Float64Array, Rows
from recoserve.errors import ExportRefused
from recoserve_export.graph.dot_score import DotSource, EmbeddingTable
from recoserve_export.graph.lookups import row_counts, side_counts
from recoserve_export.graph.network import GraphSource
from recoserve_export.graph.pair_scorer import PairScorer
from recoserve_export.inputs.features import read_features, table_width
from recoserve_export.inputs.ids import SideIds, read_ids


@dataclass(frozen=True)
class ItemFeatures:
    """What the caller gives for the model's further inputs, each by the input's name.

    `values` has a file, FILE:COLUMN, a list or an array with a value for each item. `names` has, for an input that looks up a table
    or marks names, the names of the table's rows or of the marks: a file or a list.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, Any] = field(default_factory=dict)

    @property
    def widths(self) -> dict[str, int | None]:
        """How many values of each feature an item has, if they come as a table of two dimensions; None if they don't."""
        return {name: table_width(values) for name, values in self.values.items()}


@dataclass(frozen=True)
class BoundSource:
    """A source whose rows stand in the order of `ids`, which has "user" and "item"; `notes` are sentences for the report."""

    source: DotSource | PairScorer
    ids: Mapping[str, SideIds]
    notes: tuple[str, ...]


def bind(source: DotSource | GraphSource, user_ids: Any, item_ids: Any, features: ItemFeatures) -> BoundSource:
    """The source bound to the ids of both sides and to the items' features; raises ExportRefused where they don't fit the model."""
    row_counts_by_side = _row_counts_by_side(source, features)
    ids = {
        "user": read_ids("user", user_ids, row_counts_by_side["user"]),
        "item": read_ids("item", item_ids, row_counts_by_side["item"]),
    }
    notes = tuple(note for side_ids in ids.values() for note in side_ids.notes)
    model_rows = {side: side_ids.model_rows for side, side_ids in ids.items() if side_ids.model_rows is not None}
    if isinstance(source, DotSource):
        return BoundSource(_with_rows(source, model_rows), ids, notes)
    inputs = {name: source.network.inputs[name] for name in source.features}
    values, warnings = read_features(features.values, inputs, row_counts(source.network), ids["item"], features.names)
    scorer = PairScorer(source, ids["user"].count, ids["item"].count, values, model_rows)
    return BoundSource(scorer, ids, (*notes, *warnings))


def _row_counts_by_side(source: DotSource | GraphSource, features: ItemFeatures) -> dict[str, int | None]:
    """The number of rows of the "user" and of the "item" table; None where a graph looks up no table by a side's unchanged ids."""
    if isinstance(source, GraphSource):
        return side_counts(source)
    if features.values or features.names:
        names = ", ".join({**features.values, **features.names})
        raise ExportRefused(f"this model takes only a user and an item, and has no input for {names}: leave them out")
    return {"user": source.users.row_count, "item": source.items.row_count}


def _with_rows(source: DotSource, model_rows: Mapping[str, Rows]) -> DotSource:
    """The source with those rows of its tables that `model_rows` lists, in that order; a side that is not listed keeps all rows."""
    if not model_rows:
        return source
    users, items = (_selected(table, model_rows.get(side)) for side, table in (("user", source.users), ("item", source.items)))
    scores_of_model_rows = source.scores
    if scores_of_model_rows is None:
        return replace(source, users=users, items=items)

    def scores(user_rows: Rows, item_rows: Rows) -> Float64Array:
        # The framework's forward still looks up its full tables, by the model's rows.
        sides = {"user": user_rows, "item": item_rows}
        return scores_of_model_rows(*(model_rows[side][rows] if side in model_rows else rows for side, rows in sides.items()))

    return replace(source, users=users, items=items, scores=scores)


def _selected(table: EmbeddingTable, rows: Rows | None) -> EmbeddingTable:
    return table if rows is None else EmbeddingTable(table.name, table.values[rows])
