"""A feature that has numbers: quantities pass as they are, codes must be rows of the table that they look up."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Input

SHOWN = 3  # rows of a mapping that a warning shows

ValuesAndWarnings = tuple[NDArray[Any], list[str]]


@dataclass(frozen=True)
class Feature:
    """An input with a value for each item: the number of `rows` of the table that it looks up, and their `names`, where known.

    `source` says in messages where the values come from.
    """

    input: Input
    rows: int | None
    names: list[str] | None
    source: str

    @property
    def width(self) -> int:
        """How many values an item has."""
        return prod(self.input.shape)

    @property
    def coded(self) -> bool:
        """Whether its numbers stand for something, such as a row of a table."""
        return self.rows is not None or self.input.dtype.kind in "iu"

    @property
    def names_option(self) -> str:
        """A clause for messages: the option that gives the names of its rows."""
        return f"--feature-names {self.input.name}=FILE gives the name of each row, in row order"

    def __str__(self) -> str:
        return f"feature {self.input.name!r}"


def from_numbers(feature: Feature, values: NDArray[Any]) -> ValuesAndWarnings:
    """Numbers [items] or [items, …] as the input takes them, [items, *shape], and warnings; raises ExportRefused."""
    shaped, warnings = _reshaped(feature, values), list[str]()
    if feature.coded:
        shaped = _as_codes(feature, shaped)
    if feature.rows is not None:
        shaped, warnings = _as_table_rows(feature, shaped, feature.rows)
    return cast(feature, shaped), warnings


def cast(feature: Feature, values: NDArray[Any]) -> NDArray[Any]:
    """The values in the input's dtype; raises ExportRefused where it can't hold one, or where one isn't finite."""
    dtype = feature.input.dtype
    with np.errstate(over="ignore", invalid="ignore"):
        converted = values.astype(dtype)
        # A quantity may be rounded to float32; a code may not, since the next number names another row.
        fits = np.isfinite(converted) if dtype.kind == "f" and not feature.coded else converted.astype(values.dtype) == values
    if not fits.all():
        index = tuple(np.argwhere(~fits)[0])
        raise ExportRefused(f"{feature} takes {dtype}, which doesn't hold {values[index]} in row {index[0]} of {feature.source}")
    return np.require(converted, requirements="C")


def mapping_excerpt(names: Sequence[str]) -> str:
    """The first few names of a table with their rows, for a warning: `Action → 0, Comedy → 1, …`."""
    shown = [f"{name} → {row}" for row, name in enumerate(names[:SHOWN])]
    return ", ".join([*shown, *(["…"] if len(names) > SHOWN else [])])


def _reshaped(feature: Feature, values: NDArray[Any]) -> NDArray[Any]:
    shape, item_shape = feature.input.shape, values.shape[1:]
    if prod(item_shape) != feature.width or (len(item_shape) > 1 and item_shape != shape):
        raise ExportRefused(
            f"{feature} takes {feature.width} numbers of each item, shape {list(shape)}; "
            f"{feature.source} has {prod(item_shape)}, shape {list(item_shape)}"
        )
    return values.reshape(len(values), *shape)


def _as_codes(feature: Feature, values: NDArray[Any]) -> NDArray[np.int64]:
    with np.errstate(invalid="ignore"):
        codes = values.astype(np.int64)
        fractions = np.argwhere(codes != values)
    if len(fractions):
        index = tuple(fractions[0])
        raise ExportRefused(f"{feature} takes integers; row {index[0]} of {feature.source} is {values[index]}")
    return codes


def _as_table_rows(feature: Feature, codes: NDArray[Any], rows: int) -> ValuesAndWarnings:
    """Codes that are rows of the table; or, of as many distinct codes as it has rows, their ranks in ascending order."""
    low, high = int(codes.min()), int(codes.max())
    if 0 <= low and high < rows:  # noqa: SIM300 – in the order of the numbers
        return codes, []
    distinct, ranks = np.unique(codes, return_inverse=True)
    if len(distinct) != rows:
        too_high = f"input_dim must be max value + 1 = {high + 1}; or " if high >= rows else ""
        raise ExportRefused(
            f"{feature}: {feature.source} has {len(distinct)} distinct values from {low} to {high}, but the table has {rows} rows "
            f"and takes [0, {rows - 1}]: {too_high}{feature.names_option}"
        )
    mapping = f"the {rows} distinct values of {feature.source} stand for the {rows} rows of the table in ascending order"
    return ranks.reshape(codes.shape), [f"{feature}: {mapping}: {mapping_excerpt([str(code) for code in distinct])}"]
