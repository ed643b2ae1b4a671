"""Reads one genre for each item, the first that the items file lists, as a row of a table of all genres."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recoserve.bundle.arrays import Rows
from recoserve.errors import ExportRefused
from recoserve_export.inputs.feature_file import as_numbers, names_in_cell, read_values
from recoserve_export.inputs.ids import read_ids
from recoserve_export.zoo.data.dataset import ExternalIds

COLUMN = "genres"


@dataclass(frozen=True)
class Genres:
    """`names` in alphabetical order, and `rows` int64 [items], the position of each item's genre among them."""

    names: tuple[str, ...]
    rows: Rows


def read_genres(items: Path, item_ids: ExternalIds, column: str = COLUMN) -> Genres:
    """Each item's first name in `column` of the items file, where "|" separates names, as the exporter reads them.

    Raises ExportRefused if there is no such column, if an item lacks a genre, and if the column holds numbers.
    """
    source, cells = read_values("genre", f"{items}:{column}", read_ids("item", item_ids, len(item_ids)))
    if not isinstance(cells, list) or as_numbers(cells) is not None:
        raise ExportRefused(f"{source} holds numbers; name a column of genre names: --genre-column NAME")
    genre_by_item = [names_in_cell(cell)[0] for cell in cells]
    names = sorted(set(genre_by_item))
    row_by_name = {name: row for row, name in enumerate(names)}
    return Genres(tuple(names), np.array([row_by_name[name] for name in genre_by_item], np.int64))
