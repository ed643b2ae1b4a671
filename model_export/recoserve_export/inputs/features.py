"""Features of the items, as people have them, turned into what the model's inputs take."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Input
from recoserve_export.inputs.feature_file import Values, as_numbers, read_names, read_values
from recoserve_export.inputs.feature_names import from_names
from recoserve_export.inputs.feature_numbers import Feature, Found, from_numbers
from recoserve_export.inputs.ids import Ids
from recoserve_export.inputs.list_file import read_array

Given = str | Path | Sequence[Any] | NDArray[Any]


def table_width(given: Given) -> int | None:
    """How many values an item has in a table of two dimensions, an array or a `.npy` file; None for anything else."""
    if isinstance(given, str | Path):
        if Path(given).suffix != ".npy" or not Path(given).is_file():
            return None
        given = read_array(Path(given), "one row of values per item")
    shape: tuple[int, ...] = getattr(given, "shape", ())
    return int(shape[1]) if len(shape) == 2 else None


def read_features(
    given: Mapping[str, Given],
    inputs: Mapping[str, Input],
    rows: Mapping[str, int],
    items: Ids,
    feature_names: Mapping[str, str | Path | Sequence[Any]] | None = None,
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The values of every feature input for all items in row order, [items, *shape] in the input's dtype, and warnings.

    `given` has for each of `inputs` a file, `FILE:COLUMN`, a list or an array; `rows` the length of the table that an input
    looks up, where known; `feature_names` the names of its rows, in row order. Raises ExportRefused.
    """
    names = feature_names or {}
    _check_inputs(given, inputs, names)
    values: dict[str, NDArray[Any]] = {}
    warnings: list[str] = []
    for name, each in inputs.items():
        source, found = read_values(name, given[name], items)
        own_names = read_names(name, names[name]) if name in names else None
        values[name], notes = _converted(Feature(each, rows.get(name), own_names, source), found)
        warnings += notes
    return values, warnings


def _check_inputs(given: Mapping[str, Any], inputs: Mapping[str, Any], names: Mapping[str, Any]) -> None:
    """Values for each input, and an input for all values and names."""
    missing = [name for name in inputs if name not in given]
    unknown = dict.fromkeys(name for name in (*given, *names) if name not in inputs)
    listed = ", ".join(map(repr, inputs)) or "none"
    if missing:
        raise ExportRefused(
            f"no values for {', '.join(map(repr, missing))}; the model's item features are {listed}. "
            f"Give a value for each item: --item-feature {missing[0]}=FILE[:COLUMN]"
        )
    if unknown:
        raise ExportRefused(
            f"the model has no feature input {', '.join(map(repr, unknown))}; its item features are {listed}. "
            "What stands before '=' in --item-feature NAME=FILE[:COLUMN] is the name of an input"
        )


def _converted(feature: Feature, found: Values) -> Found:
    """Texts that are all numbers are numbers, unless the rows have names."""
    if feature.names is not None:
        if np.ndim(found) != 1:
            raise ExportRefused(f"{feature} has names for its rows, but {feature.source} has several numbers for each item")
        return from_names(feature, [str(each) for each in found])
    numbers = as_numbers(found) if isinstance(found, list) else found
    return from_names(feature, list(found)) if numbers is None else from_numbers(feature, numbers)
