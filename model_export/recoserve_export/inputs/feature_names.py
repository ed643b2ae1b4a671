"""A feature that has names, such as genres: each becomes a row of a table, or a mark among all of them."""

from collections.abc import Collection, Iterable
from itertools import chain

import numpy as np

from recoserve.errors import ExportRefused
from recoserve_export.inputs.feature_file import LISTED
from recoserve_export.inputs.feature_numbers import SHOWN, Feature, Found, cast, pairs

NONE = "(no genres listed)"  # MovieLens' way to list nothing


def from_names(feature: Feature, cells: list[str]) -> Found:
    """The names of each item as the input takes them, [items, *shape], and warnings; raises ExportRefused."""
    if feature.width == 1 and feature.coded:
        return _rows(feature, cells)
    if feature.width > 1 and feature.rows is None and len(feature.input.shape) == 1:
        return _marks(feature, cells)
    lookup = " as rows of a table" if feature.rows is not None else ""
    raise ExportRefused(
        f"{feature} takes {feature.input.dtype} {list(feature.input.shape)} of each item{lookup}, but {feature.source}: names, "
        f"like {cells[0]!r}. Give the numbers that the model was trained on, in a .npy file"
    )


def _rows(feature: Feature, cells: list[str]) -> Found:
    """The row of each item's name; of several in a cell, the first one."""
    order, notes = _alphabet(feature, cells) if feature.names is None else (feature.names, [])
    _check_names_count(feature, feature.rows)
    row_of = {name: row for row, name in enumerate(order)}
    read = [cell if cell in row_of else _listed(cell)[0] for cell in cells]
    _check_known(feature, row_of, read)
    several = sum(cell not in row_of for cell in cells)
    if several:
        notes.append(f"{feature}: the first name listed counts; {several} of {len(cells)} items list several")
    codes = np.array([row_of[name] for name in read], np.int64)
    return cast(feature, codes.reshape(len(cells), *feature.input.shape)), notes


def _alphabet(feature: Feature, cells: list[str]) -> tuple[list[str], list[str]]:
    """The distinct names in alphabetical order, as scikit-learn's LabelEncoder and pandas' categories have them.

    A model that was given one name of each item may know those that stand first, all that are listed, or whole cells as
    names. The number of the table's rows tells; where it doesn't, the choice is the user's.
    """
    listed = [_listed(cell) for cell in cells]
    readings = {
        "names that stand first": sorted({names[0] for names in listed}),
        "names in all": sorted(set(chain(*listed))),
        "different cells": sorted(set(cells)),
    }
    possible = [order for order in readings.values() if feature.rows is None or len(order) <= feature.rows]
    exact = [order for order in possible if len(order) == feature.rows]
    if not possible or (not exact and any(order != possible[0] for order in possible)):
        raise ExportRefused(f"{feature}: {_counts(feature, readings)}: {feature.names_option}")
    order = (exact or possible)[0]
    known = len(order)
    table = {None: "rows", known: f"the {known} rows of the table"}
    where = table.get(feature.rows, f"the first {known} of the table's {feature.rows} rows")
    said = f"the {known} distinct names of {feature.source} stand for {where} in alphabetical order, as LabelEncoder has them"
    return order, [f"{feature}: {said}: {pairs(order)}; {feature.names_option}"]


def _counts(feature: Feature, readings: dict[str, list[str]]) -> str:
    counts = {what: len(order) for what, order in readings.items()}
    several = any(order != readings["different cells"] for order in readings.values())
    found = ", ".join(f"{count} {what}" for what, count in counts.items()) if several else f"{counts['names in all']} names"
    return f"{feature.source} has {found}, " + (
        "and the model doesn't tell how many it knows" if feature.rows is None else f"but the table has {feature.rows} rows"
    )


def _marks(feature: Feature, cells: list[str]) -> Found:
    """A 1 for each name that an item lists, among all names in alphabetical order or in that of `feature.names`."""
    listed = [_listed(cell) for cell in cells]
    order, notes = _mark_order(feature, listed) if feature.names is None else (feature.names, [])
    _check_names_count(feature, feature.width)
    place_of = {name: place for place, name in enumerate(order)}
    marked = [[name for name in names if name != NONE or NONE in place_of] for names in listed]
    _check_known(feature, place_of, chain(*marked))
    bare = sum(not names for names in marked)
    if bare:
        notes.append(f"{feature}: {bare} of {len(cells)} items have {NONE!r}, which marks nothing")
    marks = np.zeros((len(cells), feature.width), feature.input.dtype)
    for row, names in enumerate(marked):
        marks[row, [place_of[name] for name in names]] = 1
    return marks, notes


def _mark_order(feature: Feature, listed: list[list[str]]) -> tuple[list[str], list[str]]:
    found = sorted(set(chain(*listed)))
    order = found if len(found) == feature.width else [name for name in found if name != NONE]
    if len(order) != feature.width:
        raise ExportRefused(
            f"{feature} takes {feature.width} numbers of each item, but {feature.source} has {len(found)} names: "
            f"{feature.names_option}"
        )
    said = f"a 1 marks each name that {feature.source} has for an item, in alphabetical order"
    return order, [f"{feature}: {said}: {pairs(order)}; {feature.names_option}"]


def _listed(cell: str) -> list[str]:
    """The names in a cell, one at least."""
    return [name for part in cell.split(LISTED) if (name := part.strip())] or [cell]


def _check_names_count(feature: Feature, takes: int | None) -> None:
    if feature.names is not None and takes is not None and len(feature.names) != takes:
        what = "rows of the table" if feature.width == 1 else "numbers of each item"
        raise ExportRefused(
            f"{feature}: {len(feature.names)} names for {takes} {what}; give one for each, in row order, "
            "unused and padding ones included"
        )


def _check_known(feature: Feature, known: Collection[str], names: Iterable[str]) -> None:
    unknown = sorted({name for name in names if name not in known})
    if unknown:
        listed = ", ".join([*map(repr, unknown[:SHOWN]), *(["…"] if len(unknown) > SHOWN else [])])
        raise ExportRefused(f"{feature}: {feature.source} has {listed}, not among the names that were given for its rows")
