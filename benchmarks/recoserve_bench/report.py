"""Figures as a printed table and as JSON: each is one dict, the same in both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from rich.console import Console
from rich.table import Table

from recoserve_bench import machine

Figure = dict[str, Any]
out = Console(highlight=False, width=max(Console().width, 160))  # a table cut short says nothing


def figure(system: str, operation: str, times: Sequence[float], per_second: float, **fields: Any) -> Figure:
    """A figure with the median and the 99th percentile of `times` (seconds) in milliseconds, and further `fields`."""
    median, p99 = (float(value) * 1e3 for value in np.percentile(times, [50, 99]))
    return {"system": system, "operation": operation, **fields, "median_ms": median, "p99_ms": p99, "per_second": per_second}


def write_json(path: Path | None, figures: Sequence[Figure]) -> None:
    """Write the figures as a JSON list; without a path, do nothing."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    if path:
        path.write_bytes(orjson.dumps(figures, option=options) + b"\n")


def print_heading(title: str) -> None:
    """Print what was measured, on what machine, and the command that measures it again."""
    out.print(f"\n{title}\n{machine.description()}\n{machine.command()}", markup=False)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, the numbers to the right."""
    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    out.print(table)


def ratio(value: float, base: float | None) -> str:
    """How many times `base` a value is, such as `1.25x`; empty where there is nothing to compare with."""
    return f"{value / base:.2f}x" if base else ""
