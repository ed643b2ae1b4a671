"""Turns features of the items, as people have them, into what the model's inputs take."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Input
from recoserve_export.inputs.feature_file import FeatureValues, PathOrValues, as_numbers, read_names, read_values
from recoserve_export.inputs.feature_names import from_names
from recoserve_export.inputs.feature_numbers import Feature, ValuesAndWarnings, from_numbers
from recoserve_export.inputs.ids import SideIds
from recoserve_export.inputs.list_file import read_array


def table_width(values: PathOrValues) -> int | None:
    """How many values an item has in an array or a `.npy` file of two dimensions; None for anything else."""
    if isinstance(values, str | Path):
        if Path(values).suffix != ".npy" or not Path(values).is_file():
            return None
        values = read_array(Path(values), "one row of values per item")
    shape: tuple[int, ...] = getattr(values, "shape", ())
    return int(shape[1]) if len(shape) == 2 else None


def read_features(
    values: Mapping[str, PathOrValues],
    inputs: Mapping[str, Input],
    row_counts: Mapping[str, int],
    items: SideIds,
    names: Mapping[str, str | Path | Sequence[Any]] | None = None,
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The values of every feature input for all items in row order, [items, *shape] in the input's dtype, and warnings.

    `values` has a file, `FILE:COLUMN`, a list or an array for each of `inputs`; `row_counts` the length of the table that an input
    looks up, where known; `names` the names of that table's rows, in row order. Raises ExportRefused for an input without values,
    for values without an input, and for values that the input can't take.
    """
    names = names or {}
    _check_inputs(values, inputs, names)
    arrays: dict[str, NDArray[Any]] = {}
    warnings: list[str] = []
    for name, model_input in inputs.items():
        source, item_values = read_values(name, values[name], items)
        row_names = read_names(name, names[name]) if name in names else None
        feature = Feature(model_input, row_counts.get(name), row_names, source)
        arrays[name], feature_warnings = _converted(feature, item_values)
        warnings += feature_warnings
    return arrays, warnings


def _check_inputs(values: Mapping[str, Any], inputs: Mapping[str, Any], names: Mapping[str, Any]) -> None:
    """Raise ExportRefused unless each input has values, and all values and names have an input."""
    missing_inputs = [name for name in inputs if name not in values]
    unknown_names = dict.fromkeys(name for name in (*values, *names) if name not in inputs)
    listing = ", ".join(map(repr, inputs)) or "none"
    if missing_inputs:
        raise ExportRefused(
            f"no values for {', '.join(map(repr, missing_inputs))}; the model's item features are {listing}. "
            f"Give a value for each item: --item-feature {missing_inputs[0]}=FILE[:COLUMN]"
        )
    if unknown_names:
        raise ExportRefused(
            f"the model has no feature input {', '.join(map(repr, unknown_names))}; its item features are {listing}. "
            "In --item-feature NAME=FILE[:COLUMN], NAME must be the name of an input"
        )


def _converted(feature: Feature, values: FeatureValues) -> ValuesAndWarnings:
    """The values as the input takes them, and warnings; texts are numbers if all of them are, unless the feature has names."""
    if feature.names is not None:
        if np.ndim(values) != 1:
            raise ExportRefused(
                f"{feature} has names for its rows, but {feature.source} has several numbers for each item: "
                "give one name for each item, or leave --feature-names out"
            )
        return from_names(feature, [str(value) for value in values])
    numbers = as_numbers(values) if isinstance(values, list) else values
    return from_names(feature, list(values)) if numbers is None else from_numbers(feature, numbers)
