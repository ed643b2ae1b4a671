"""Filters, evaluated item by item in plain Python."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from recoserve.bundle.arrays import Rows
from tests.oracle.world import World

CLAUSES: dict[str, Callable[[list[Any], Any], bool]] = {
    "any": lambda values, operand: any(value in operand for value in values),
    "in": lambda values, operand: any(value in operand for value in values),
    "all": lambda values, operand: bool(values) and all(value in values for value in operand),
    "none": lambda values, operand: not any(value in operand for value in values),
    "eq": lambda values, operand: operand in values,
    "gte": lambda values, operand: any(value >= operand for value in values),
    "lte": lambda values, operand: any(value <= operand for value in values),
}
LISTS = ("any", "in", "all", "none")


def passing_rows(world: World, conditions: Mapping[str, Mapping[str, Any]]) -> Rows:
    """The rows, ascending, of the items for which every clause of every column holds."""
    rows = range(len(world.item_ids))
    for column, clauses in conditions.items():
        values = world.values[column]
        for operator, operand in clauses.items():
            holds = CLAUSES[operator]
            rows = [row for row in rows if holds(values[row], operand)]  # type: ignore[assignment]  # any iterable of rows does
    return np.array(rows, np.int64)
