"""Converts a feature that has numbers: quantities stay as they are, codes must be rows of the table that they look up."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Input
from recoserve_export.inputs.ids import IN_PYTORCH

SHOWN_NAMES = 3  # in a warning that shows which name has which row

ValuesAndWarnings = tuple[NDArray[Any], list[str]]  # values in row order, [items, *shape of the input]


@dataclass(frozen=True)
class Feature:
    """An input with values for each item.

    `row_count` is the length of the table that it looks up, `names` the names of the table's rows or of the input's columns; both
    are None where not known. `source` says in messages where the values come from.
    """

    input: Input
    row_count: int | None
    names: list[str] | None
    source: str

    @property
    def width(self) -> int:
        """How many values the input takes of each item."""
        return prod(self.input.shape)

    @property
    def has_codes(self) -> bool:
        """True if its numbers may be codes, such as rows of a table: they must be whole, and are never rounded."""
        return self.row_count is not None or self.input.dtype.kind in "iu"

    @property
    def names_option(self) -> str:
        """A clause for messages: which option gives the names of its rows."""
        return f"--feature-names {self.input.name}=FILE gives the name of each row, in row order"

    def __str__(self) -> str:
        return f"feature {self.input.name!r}"


def from_numbers(feature: Feature, values: NDArray[Any]) -> ValuesAndWarnings:
    """Numbers [items] or [items, …] as the input takes them, [items, *shape], and warnings.

    Raises ExportRefused for another shape, for codes that are no rows of the table, and for numbers that the dtype can't hold.
    """
    shaped, warnings = _reshaped(feature, values), list[str]()
    if feature.has_codes:
        shaped = _as_codes(feature, shaped)
    if feature.row_count is not None:
        shaped, warnings = _as_table_rows(feature, shaped, feature.row_count)
    return cast(feature, shaped), warnings


def cast(feature: Feature, values: NDArray[Any]) -> NDArray[Any]:
    """The values in the input's dtype; raises ExportRefused where it can't hold one, or where one isn't finite."""
    dtype = feature.input.dtype
    with np.errstate(over="ignore", invalid="ignore"):
        converted = values.astype(dtype)
        # A quantity may be rounded to float32; a code may not, since the next number names another row.
        fits = np.isfinite(converted) if dtype.kind == "f" and not feature.has_codes else converted.astype(values.dtype) == values
    if not fits.all():
        index = tuple(np.argwhere(~fits)[0])
        raise ExportRefused(f"{feature} takes {dtype}, which doesn't hold {values[index]} in row {index[0]} of {feature.source}")
    return np.require(converted, requirements="C")


def mapping_excerpt(names: Sequence[str]) -> str:
    """The first few names of a table with their rows, for a warning: `Action → 0, Comedy → 1, …`."""
    shown = [f"{name} → {row}" for row, name in enumerate(names[:SHOWN_NAMES])]
    return ", ".join([*shown, *(["…"] if len(names) > SHOWN_NAMES else [])])


def _reshaped(feature: Feature, values: NDArray[Any]) -> NDArray[Any]:
    """The values as [items, *shape of the input]; raises ExportRefused if they don't fit that shape."""
    shape, item_shape = feature.input.shape, values.shape[1:]
    if prod(item_shape) != feature.width or (len(item_shape) > 1 and item_shape != shape):
        raise ExportRefused(
            f"{feature} takes {feature.width} numbers of each item, shape {list(shape)}; "
            f"{feature.source} has {prod(item_shape)}, shape {list(item_shape)}"
        )
    return values.reshape(len(values), *shape)


def _as_codes(feature: Feature, values: NDArray[Any]) -> NDArray[np.int64]:
    """The values as int64; raises ExportRefused where one is no whole number."""
    with np.errstate(invalid="ignore"):
        codes = values.astype(np.int64)
        fractions = np.argwhere(codes != values)
    if len(fractions):
        index = tuple(fractions[0])
        raise ExportRefused(f"{feature} takes integers; row {index[0]} of {feature.source} is {values[index]}")
    return codes


def _as_table_rows(feature: Feature, codes: NDArray[Any], row_count: int) -> ValuesAndWarnings:
    """The table row of each code, and warnings.

    Codes within the table are its rows. Others must have as many distinct values as the table has rows: the smallest is row 0, and
    so on, with a warning that says so. Raises ExportRefused for any other number of distinct values.
    """
    low, high = int(codes.min()), int(codes.max())
    if 0 <= low and high < row_count:  # noqa: SIM300 – in the order of the numbers
        return codes, []
    distinct, ranks = np.unique(codes, return_inverse=True)
    if len(distinct) != row_count:
        too_high = f"input_dim must be max value + 1 = {high + 1} {IN_PYTORCH}; or " if high >= row_count else ""
        raise ExportRefused(
            f"{feature}: {feature.source} has {len(distinct)} distinct values from {low} to {high}, but the table has "
            f"{row_count} rows and takes [0, {row_count - 1}]: {too_high}{feature.names_option}"
        )
    mapping = f"the {row_count} distinct values of {feature.source} stand for the {row_count} rows of the table in ascending order"
    return ranks.reshape(codes.shape), [f"{feature}: {mapping}: {mapping_excerpt([str(code) for code in distinct])}"]
