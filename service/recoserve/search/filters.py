"""Checks a request's filter against a model's item columns, and turns it into conditions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recoserve.bundle.columns import BOOLEAN, NUMBER, REASONS, STRING, Columns
from recoserve.errors import FieldError, InvalidRequest

LIST_OPERATORS = ("any", "all", "none", "in")
ORDER_OPERATORS = ("gte", "lte")
OPERATORS = (*LIST_OPERATORS, "eq", *ORDER_OPERATORS)
PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {STRING: (str,), NUMBER: (int, float), BOOLEAN: (bool,)}
MAX_LISTED_COLUMNS = 20  # in one message
NO_COLUMNS = "this model's bundle has no columns to filter by; export it again with --items"


@dataclass(frozen=True)
class Condition:
    """One checked operator on one column; `values` are of the column's type, distinct and ascending: one for eq, gte and lte.

    Filters that differ only in the order of values, or in repeated ones, have equal conditions, and so share a cached mask.
    """

    column: str
    operator: str
    values: tuple[Any, ...]


def filter_conditions(columns: Columns | None, clauses_by_column: Mapping[str, Mapping[str, Any]]) -> tuple[Condition, ...]:
    """The conditions of a filter, column -> operator -> value or list; an item passes if all of them hold.

    Raises InvalidRequest with an error for each clause at fault; no message repeats the values that were sent.
    """
    if not clauses_by_column:
        return ()
    parsed = [entry for name, clauses in clauses_by_column.items() for entry in _parse_column(columns, name, clauses)]
    errors = [entry for entry in parsed if isinstance(entry, FieldError)]
    if errors:
        raise InvalidRequest("the filter doesn't fit this model's columns", errors)
    return tuple(entry for entry in parsed if isinstance(entry, Condition))


def _parse_column(columns: Columns | None, name: str, clauses: Mapping[str, Any]) -> Iterator[Condition | FieldError]:
    if columns is None:
        yield FieldError(("filter",), NO_COLUMNS)
    elif name in columns.refused:
        yield FieldError(("filter", name), f"can't be filtered by: {REASONS[columns.refused[name]]}")
    elif name not in columns.by_name:
        yield FieldError(("filter",), f"names a column that this model doesn't have; {_known_columns(columns)}")
    elif not clauses:
        yield FieldError(("filter", name), f"must hold at least one of {', '.join(OPERATORS)}")
    else:
        for operator, value in clauses.items():
            yield from _parse_clause(name, columns.by_name[name].type, operator, value)


def _parse_clause(name: str, column_type: str, operator: str, value: Any) -> Iterator[Condition | FieldError]:
    path: tuple[str, ...] = ("filter", name, operator)
    if operator not in OPERATORS:
        yield FieldError(path[:2], f"has an operator that doesn't exist; use one of {', '.join(OPERATORS)}")
    elif operator in ORDER_OPERATORS and column_type == BOOLEAN:
        yield FieldError(path, "a column of booleans has no order; use eq")
    elif operator not in LIST_OPERATORS:
        fits = _fits(value, column_type)
        yield Condition(name, operator, (value,)) if fits else FieldError(path, _must_be(column_type))
    elif not isinstance(value, list | tuple) or not value:
        yield FieldError(path, f"must be a list of at least one {column_type}")
    elif misfits := [index for index, element in enumerate(value) if not _fits(element, column_type)]:
        yield from (FieldError((*path, index), _must_be(column_type)) for index in misfits)
    else:
        yield Condition(name, operator, tuple(sorted(set(value))))


def _must_be(column_type: str) -> str:
    return f"must be a {column_type}, as this column's values are"


def _fits(value: Any, column_type: str) -> bool:
    # In Python True is an int; in JSON it is no number. NaN, which doesn't equal itself, can't be compared.
    has_type = isinstance(value, PYTHON_TYPES[column_type]) and isinstance(value, bool) == (column_type == BOOLEAN)
    return has_type and bool(value == value)


def _known_columns(columns: Columns) -> str:
    names = list(columns.by_name)
    if not names:
        return "it has none that can be filtered by"
    more = f" and {len(names) - MAX_LISTED_COLUMNS} more" if len(names) > MAX_LISTED_COLUMNS else ""
    return f"it has {', '.join(names[:MAX_LISTED_COLUMNS])}{more}"
