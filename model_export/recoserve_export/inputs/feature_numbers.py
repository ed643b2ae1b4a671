"""A feature that has numbers: quantities pass as they are, codes must be rows of the table that they look up."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Input

SHOWN = 3  # pairs of a mapping that a warning shows

Found = tuple[NDArray[Any], list[str]]  # the values, and warnings


@dataclass(frozen=True)
class Feature:
    """An input with a value of each item: the `rows` of the table that it looks up, and their `names`, where known.

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
        """Whether its numbers name something, such as a row of a table."""
        return self.rows is not None or self.input.dtype.kind in "iu"

    @property
    def names_option(self) -> str:
        """How the names of its rows are given."""
        return f"--feature-names {self.input.name}=FILE gives the name of each row, in row order"

    def __str__(self) -> str:
        return f"feature {self.input.name!r}"


def from_numbers(feature: Feature, values: NDArray[Any]) -> Found:
    """Numbers [items] or [items, …] as the input takes them, [items, *shape], and warnings; raises ExportRefused."""
    shaped, notes = _shaped(feature, values), list[str]()
    if feature.coded:
        shaped = _whole(feature, shaped)
    if feature.rows is not None:
        shaped, notes = _in_table(feature, shaped, feature.rows)
    return cast(feature, shaped), notes


def cast(feature: Feature, values: NDArray[Any]) -> NDArray[Any]:
    """The values in the input's dtype; raises ExportRefused where it doesn't hold them, or one isn't finite."""
    dtype = feature.input.dtype
    with np.errstate(over="ignore", invalid="ignore"):
        found = values.astype(dtype)
        held = np.isfinite(found) if dtype.kind == "f" and not feature.coded else found.astype(values.dtype) == values
    if not held.all():
        place = tuple(np.argwhere(~held)[0])
        raise ExportRefused(f"{feature} takes {dtype}, which doesn't hold {values[place]} in row {place[0]} of {feature.source}")
    return np.require(found, requirements="C")


def pairs(order: list[str]) -> str:
    """The first few of a mapping to rows, to be shown."""
    return ", ".join([*(f"{name} → {row}" for row, name in enumerate(order[:SHOWN])), *(["…"] if len(order) > SHOWN else [])])


def _shaped(feature: Feature, values: NDArray[Any]) -> NDArray[Any]:
    shape, found = feature.input.shape, values.shape[1:]
    if prod(found) != feature.width or (len(found) > 1 and found != shape):
        raise ExportRefused(
            f"{feature} takes {feature.width} numbers of each item, shape {list(shape)}; "
            f"{feature.source} has {prod(found)}, shape {list(found)}"
        )
    return values.reshape(len(values), *shape)


def _whole(feature: Feature, values: NDArray[Any]) -> NDArray[np.int64]:
    with np.errstate(invalid="ignore"):
        codes = values.astype(np.int64)
        wrong = np.argwhere(codes != values)
    if len(wrong):
        place = tuple(wrong[0])
        raise ExportRefused(f"{feature} takes integers; row {place[0]} of {feature.source} is {values[place]}")
    return codes


def _in_table(feature: Feature, codes: NDArray[Any], rows: int) -> Found:
    """Codes that are rows of the table; or as many distinct ones as it has rows, numbered in ascending order."""
    low, high = int(codes.min()), int(codes.max())
    if 0 <= low and high < rows:  # noqa: SIM300 – in the order of the numbers
        return codes, []
    distinct, places = np.unique(codes, return_inverse=True)
    if len(distinct) != rows:
        way = f"input_dim must be max value + 1 = {high + 1}; or " if high >= rows else ""
        raise ExportRefused(
            f"{feature}: {feature.source} has {len(distinct)} distinct values from {low} to {high}, but the table has {rows} rows "
            f"and takes [0, {rows - 1}]: {way}{feature.names_option}"
        )
    said = f"the {rows} distinct values of {feature.source} stand for the {rows} rows of the table in ascending order"
    return places.reshape(codes.shape), [f"{feature}: {said}: {pairs([str(code) for code in distinct])}"]
