"""A filter, read item by item: what INTERFACE.md's clauses mean, in plain Python."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.oracle.world import Rows, World

CLAUSES: dict[str, Callable[[list[Any], Any], bool]] = {
    "any": lambda values, wanted: any(value in wanted for value in values),
    "in": lambda values, wanted: any(value in wanted for value in values),
    "all": lambda values, wanted: bool(values) and all(one in values for one in wanted),
    "none": lambda values, wanted: not any(value in wanted for value in values),
    "eq": lambda values, wanted: wanted in values,
    "gte": lambda values, wanted: any(value >= wanted for value in values),
    "lte": lambda values, wanted: any(value <= wanted for value in values),
}
LISTS = ("any", "in", "all", "none")


def passing(world: World, wanted: Mapping[str, Mapping[str, Any]]) -> Rows:
    """The rows, ascending, of the items for which every clause of every column holds."""
    rows = range(len(world.item_ids))
    for column, clauses in wanted.items():
        values = world.values[column]
        for name, value in clauses.items():
            holds = CLAUSES[name]
            rows = [row for row in rows if holds(values[row], value)]  # type: ignore[assignment]  # any iterable of rows does
    return np.array(rows, np.int64)
