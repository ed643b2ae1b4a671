"""Reads and writes what a bundle holds beside the model: external ids, item metadata, and the users' interactions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recoserve.bundle import contract
from recoserve.bundle.draft import Draft
from recoserve.bundle.interactions import Interactions
from recoserve.bundle.json_lines import encode_lines
from recoserve.errors import ExportRefused
from recoserve_export.inputs.ids import SideIds
from recoserve_export.inputs.interactions import read_interactions
from recoserve_export.inputs.metadata import read_items


@dataclass(frozen=True)
class BundleMetadata:
    """The ids of each side, "user" and "item"; a JSON object for each item row; the interactions; warnings for the report.

    `items` and `interactions` are None if the export was called without them.
    """

    ids: Mapping[str, SideIds]
    items: Sequence[Any] | None
    interactions: Interactions | None
    notes: tuple[str, ...]


def read(ids: Mapping[str, SideIds], items: Any, interactions: Any) -> BundleMetadata:
    """Read item metadata and interactions and join them with the rows of `ids`; raises ExportRefused if they don't fit."""
    item_metadata, item_notes = read_items(items, ids["item"]) if items is not None else (None, [])
    pairs, pair_notes = read_interactions(interactions, ids["user"], ids["item"]) if interactions is not None else (None, [])
    return BundleMetadata(ids, item_metadata, pairs, (*item_notes, *pair_notes))


def write(draft: Draft, metadata: BundleMetadata) -> None:
    """Write the files of `metadata`; raises ExportRefused for item metadata that JSON can't hold."""
    for side, ids in metadata.ids.items():
        name = contract.id_file(side, ids.kind)
        if name and isinstance(ids.values, np.ndarray):
            draft.add_array(name, ids.values)
        elif name and ids.values is not None:
            draft.add_lines(name, encode_lines(ids.values))
    if metadata.items is not None:
        draft.add_lines(contract.ITEM_METADATA, _metadata_lines(metadata.items))
        draft.add_columns()
    if metadata.interactions:
        offsets, items = metadata.interactions.arrays
        draft.add_array(contract.INTERACTION_OFFSETS, offsets)
        draft.add_array(contract.INTERACTION_ITEMS, items)


def _metadata_lines(items: Sequence[Any]) -> Iterator[bytes]:
    for row, metadata in enumerate(items):
        try:
            yield from encode_lines([metadata])
        except (TypeError, ValueError) as error:
            raise ExportRefused(f"items: the metadata of row {row} can't be written as JSON: {error}") from None
