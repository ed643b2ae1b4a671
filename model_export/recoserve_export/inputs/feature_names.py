"""Converts a feature that has names, such as genres: a name becomes the row of a table, or a 1 in the column of that name."""

from collections.abc import Collection, Iterable
from itertools import chain

import numpy as np

from recoserve.errors import ExportRefused
from recoserve_export.inputs.csv_file import NO_GENRES
from recoserve_export.inputs.feature_file import names_in_cell
from recoserve_export.inputs.feature_numbers import SHOWN_NAMES, Feature, ValuesAndWarnings, cast, mapping_excerpt


def from_names(feature: Feature, cells: list[str]) -> ValuesAndWarnings:
    """The names of each item as the input takes them, [items, *shape], and warnings.

    Raises ExportRefused where the input takes no names, or where these names don't fit it.
    """
    if feature.width == 1 and feature.has_codes:
        return _table_rows(feature, cells)
    if feature.width > 1 and feature.row_count is None and len(feature.input.shape) == 1:
        return _multi_hot(feature, cells)
    lookup = " as rows of a table" if feature.row_count is not None else ""
    raise ExportRefused(
        f"{feature} takes {feature.input.dtype} {list(feature.input.shape)} of each item{lookup}, not names like {cells[0]!r} "
        f"from {feature.source}. Give the numbers that the model was trained on, in a .npy file"
    )


def _table_rows(feature: Feature, cells: list[str]) -> ValuesAndWarnings:
    """The table row of each item's name, of the first one if its cell lists several; and warnings."""
    names, warnings = _inferred_names(feature, cells) if feature.names is None else (feature.names, [])
    _check_name_count(feature, feature.row_count)
    row_by_name = {name: row for row, name in enumerate(names)}
    item_names = [cell if cell in row_by_name else names_in_cell(cell)[0] for cell in cells]
    _check_known(feature, row_by_name, item_names)
    list_count = sum(cell not in row_by_name for cell in cells)
    if list_count:
        warnings.append(f"{feature}: the first name listed counts; {list_count} of {len(cells)} items list several")
    codes = np.array([row_by_name[name] for name in item_names], np.int64)
    return cast(feature, codes.reshape(len(cells), *feature.input.shape)), warnings


def _inferred_names(feature: Feature, cells: list[str]) -> tuple[list[str], list[str]]:
    """The names of the table's rows, the distinct names in alphabetical order, and a warning that says so.

    The order is that of scikit-learn's LabelEncoder and of pandas' categories. Raises ExportRefused where it isn't certain which
    names the table has.
    """
    # A model that takes one name of each item may have been trained on the first name of each cell, on all names, or on cells as
    # they are, and only the number of its table's rows can say which. Where that fits none of the three, or several that differ,
    # the user has to say: a wrong guess would give items wrong genres, and nobody would notice.
    names_by_item = [names_in_cell(cell) for cell in cells]
    readings = {
        "names that stand first": sorted({names[0] for names in names_by_item}),
        "names in all": sorted(set(chain(*names_by_item))),
        "different cells": sorted(set(cells)),
    }
    fitting = [names for names in readings.values() if feature.row_count is None or len(names) <= feature.row_count]
    exact = [names for names in fitting if len(names) == feature.row_count]
    if not fitting or (not exact and any(names != fitting[0] for names in fitting)):
        raise ExportRefused(f"{feature}: {_counts_clause(feature, readings)}: {feature.names_option}")
    names = (exact or fitting)[0]
    mapping = (
        f"the {len(names)} distinct names of {feature.source} stand for {_rows_clause(feature, len(names))} in alphabetical order, "
        "as LabelEncoder has them"
    )
    return names, [f"{feature}: {mapping}: {mapping_excerpt(names)}; {feature.names_option}"]


def _rows_clause(feature: Feature, name_count: int) -> str:
    if feature.row_count is None:
        return "rows"
    if feature.row_count == name_count:
        return f"the {name_count} rows of the table"
    return f"the first {name_count} of the table's {feature.row_count} rows"


def _counts_clause(feature: Feature, readings: dict[str, list[str]]) -> str:
    """How many names each reading gives, and how many the model knows."""
    counts = {reading: len(names) for reading, names in readings.items()}
    differ = any(names != readings["different cells"] for names in readings.values())
    listing = ", ".join(f"{count} {reading}" for reading, count in counts.items()) if differ else f"{counts['names in all']} names"
    return f"{feature.source} has {listing}, " + (
        "and the model doesn't show how many it knows"
        if feature.row_count is None
        else f"but the table has {feature.row_count} rows"
    )


def _multi_hot(feature: Feature, cells: list[str]) -> ValuesAndWarnings:
    """A 1 in the column of each name that an item lists, and warnings; columns are in alphabetical order or as `feature.names`."""
    names_by_item = [names_in_cell(cell) for cell in cells]
    names, warnings = _multi_hot_names(feature, names_by_item) if feature.names is None else (feature.names, [])
    _check_name_count(feature, feature.width)
    column_by_name = {name: column for column, name in enumerate(names)}
    names_to_mark = [
        [name for name in item_names if name != NO_GENRES or NO_GENRES in column_by_name] for item_names in names_by_item
    ]
    _check_known(feature, column_by_name, chain(*names_to_mark))
    unmarked_count = sum(not item_names for item_names in names_to_mark)
    if unmarked_count:
        warnings.append(f"{feature}: {unmarked_count} of {len(cells)} items have {NO_GENRES!r}, which marks nothing")
    marks = np.zeros((len(cells), feature.width), feature.input.dtype)
    for row, item_names in enumerate(names_to_mark):
        marks[row, [column_by_name[name] for name in item_names]] = 1
    return marks, warnings


def _multi_hot_names(feature: Feature, names_by_item: list[list[str]]) -> tuple[list[str], list[str]]:
    """The name of each column, in alphabetical order, and a warning that says so; raises ExportRefused if their number differs."""
    distinct = sorted(set(chain(*names_by_item)))
    # MovieLens' "(no genres listed)" is a genre to some encoders and an empty list to others: the input's width decides.
    names = distinct if len(distinct) == feature.width else [name for name in distinct if name != NO_GENRES]
    if len(names) != feature.width:
        raise ExportRefused(
            f"{feature} takes {feature.width} numbers of each item, but {feature.source} has {len(distinct)} names: "
            f"{feature.names_option}"
        )
    mapping = f"a 1 marks each name that {feature.source} has for an item, in alphabetical order"
    return names, [f"{feature}: {mapping}: {mapping_excerpt(names)}; {feature.names_option}"]


def _check_name_count(feature: Feature, count: int | None) -> None:
    if feature.names is not None and count is not None and len(feature.names) != count:
        unit = "rows of the table" if feature.width == 1 else "numbers of each item"
        raise ExportRefused(
            f"{feature}: {len(feature.names)} names for {count} {unit}; give one for each, in row order, "
            "unused and padding ones included"
        )


def _check_known(feature: Feature, known_names: Collection[str], names: Iterable[str]) -> None:
    unknown_names = sorted({name for name in names if name not in known_names})
    if unknown_names:
        ellipsis = ["…"] if len(unknown_names) > SHOWN_NAMES else []
        listing = ", ".join([*map(repr, unknown_names[:SHOWN_NAMES]), *ellipsis])
        raise ExportRefused(
            f"{feature}: {feature.source} has {listing}, not among the names that were given for its rows; "
            "add what is missing to --feature-names"
        )
