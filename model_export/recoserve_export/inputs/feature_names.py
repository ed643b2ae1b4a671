"""A feature that has names, such as genres: each becomes a row of a table, or a 1 among all of them."""

from collections.abc import Collection, Iterable
from itertools import chain

import numpy as np

from recoserve.errors import ExportRefused
from recoserve_export.inputs.csv_file import NO_GENRES
from recoserve_export.inputs.feature_file import names_in_cell
from recoserve_export.inputs.feature_numbers import SHOWN, Feature, ValuesAndWarnings, cast, mapping_excerpt


def from_names(feature: Feature, cells: list[str]) -> ValuesAndWarnings:
    """The names of each item as the input takes them, [items, *shape], and warnings; raises ExportRefused."""
    if feature.width == 1 and feature.coded:
        return _table_rows(feature, cells)
    if feature.width > 1 and feature.rows is None and len(feature.input.shape) == 1:
        return _multi_hot(feature, cells)
    lookup = " as rows of a table" if feature.rows is not None else ""
    raise ExportRefused(
        f"{feature} takes {feature.input.dtype} {list(feature.input.shape)} of each item{lookup}, but {feature.source}: names, "
        f"like {cells[0]!r}. Give the numbers that the model was trained on, in a .npy file"
    )


def _table_rows(feature: Feature, cells: list[str]) -> ValuesAndWarnings:
    """The row of each item's name; of several in a cell, the first one's."""
    names, warnings = _alphabet(feature, cells) if feature.names is None else (feature.names, [])
    _check_name_count(feature, feature.rows)
    row_by_name = {name: row for row, name in enumerate(names)}
    item_names = [cell if cell in row_by_name else names_in_cell(cell)[0] for cell in cells]
    _check_known(feature, row_by_name, item_names)
    shortened = sum(cell not in row_by_name for cell in cells)
    if shortened:
        warnings.append(f"{feature}: the first name listed counts; {shortened} of {len(cells)} items list several")
    codes = np.array([row_by_name[name] for name in item_names], np.int64)
    return cast(feature, codes.reshape(len(cells), *feature.input.shape)), warnings


def _alphabet(feature: Feature, cells: list[str]) -> tuple[list[str], list[str]]:
    """The names of the table's rows, and the warning that says so: distinct names in alphabetical order.

    That is the order of scikit-learn's LabelEncoder and of pandas' categories.
    """
    # A model that takes one name of each item may have been trained on the first name of each cell, on all names, or on cells as
    # they are, and nothing in the model says which. Only the number of its table's rows can; where that fits none or leaves a
    # choice between different orders, the user has to say, since any guess gives every item some genre, and a wrong one in silence.
    names_by_item = [names_in_cell(cell) for cell in cells]
    readings = {
        "names that stand first": sorted({names[0] for names in names_by_item}),
        "names in all": sorted(set(chain(*names_by_item))),
        "different cells": sorted(set(cells)),
    }
    fitting = [names for names in readings.values() if feature.rows is None or len(names) <= feature.rows]
    exact = [names for names in fitting if len(names) == feature.rows]
    if not fitting or (not exact and any(names != fitting[0] for names in fitting)):
        raise ExportRefused(f"{feature}: {_counts(feature, readings)}: {feature.names_option}")
    names = (exact or fitting)[0]
    count = len(names)
    table = {None: "rows", count: f"the {count} rows of the table"}
    rows = table.get(feature.rows, f"the first {count} of the table's {feature.rows} rows")
    mapping = f"the {count} distinct names of {feature.source} stand for {rows} in alphabetical order, as LabelEncoder has them"
    return names, [f"{feature}: {mapping}: {mapping_excerpt(names)}; {feature.names_option}"]


def _counts(feature: Feature, readings: dict[str, list[str]]) -> str:
    counts = {reading: len(names) for reading, names in readings.items()}
    differ = any(names != readings["different cells"] for names in readings.values())
    listing = ", ".join(f"{count} {reading}" for reading, count in counts.items()) if differ else f"{counts['names in all']} names"
    return f"{feature.source} has {listing}, " + (
        "and the model doesn't tell how many it knows" if feature.rows is None else f"but the table has {feature.rows} rows"
    )


def _multi_hot(feature: Feature, cells: list[str]) -> ValuesAndWarnings:
    """A 1 for each name that an item lists, among all names in alphabetical order or in that of `feature.names`."""
    names_by_item = [names_in_cell(cell) for cell in cells]
    names, warnings = _multi_hot_names(feature, names_by_item) if feature.names is None else (feature.names, [])
    _check_name_count(feature, feature.width)
    column_by_name = {name: column for column, name in enumerate(names)}
    marked = [[name for name in listed if name != NO_GENRES or NO_GENRES in column_by_name] for listed in names_by_item]
    _check_known(feature, column_by_name, chain(*marked))
    unmarked = sum(not listed for listed in marked)
    if unmarked:
        warnings.append(f"{feature}: {unmarked} of {len(cells)} items have {NO_GENRES!r}, which marks nothing")
    ones = np.zeros((len(cells), feature.width), feature.input.dtype)
    for row, listed in enumerate(marked):
        ones[row, [column_by_name[name] for name in listed]] = 1
    return ones, warnings


def _multi_hot_names(feature: Feature, names_by_item: list[list[str]]) -> tuple[list[str], list[str]]:
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


def _check_known(feature: Feature, known: Collection[str], names: Iterable[str]) -> None:
    unknown = sorted({name for name in names if name not in known})
    if unknown:
        listing = ", ".join([*map(repr, unknown[:SHOWN]), *(["…"] if len(unknown) > SHOWN else [])])
        raise ExportRefused(
            f"{feature}: {feature.source} has {listing}, not among the names that were given for its rows; "
            "add what is missing to --feature-names"
        )
