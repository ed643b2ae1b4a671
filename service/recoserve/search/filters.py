"""A request's filter, checked against a model's item columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recoserve.bundle.columns import BOOLEAN, NUMBER, REASONS, STRING, Columns
from recoserve.errors import FieldError, InvalidRequest

LIST_OPERATORS = ("any", "all", "none", "in")
ORDER_OPERATORS = ("gte", "lte")
OPERATORS = (*LIST_OPERATORS, "eq", *ORDER_OPERATORS)
PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {STRING: (str,), NUMBER: (int, float), BOOLEAN: (bool,)}
MAX_NAMES = 20  # of columns in one message
NO_COLUMNS = "this model's bundle has no columns to filter by; export it again with --items"


@dataclass(frozen=True)
class Condition:
    """One operator on one column, checked; `values` are of the column's type, distinct and ascending: just one for eq, gte and lte.

    Filters that mean the same have equal conditions, so that a cached mask serves them all.
    """

    column: str
    operator: str
    values: tuple[Any, ...]


def filter_conditions(columns: Columns | None, clauses_by_column: Mapping[str, Mapping[str, Any]]) -> tuple[Condition, ...]:
    """A request's filter, column -> operator -> value or list, as conditions. All of them must hold for an item.

    Raises InvalidRequest with every clause at fault, none of which repeats what was sent.
    """
    if not clauses_by_column:
        return ()
    checked = [clause for name, clauses in clauses_by_column.items() for clause in _parse_column(columns, name, clauses)]
    faults = [clause for clause in checked if isinstance(clause, FieldError)]
    if faults:
        raise InvalidRequest("the filter doesn't fit this model's columns", faults)
    return tuple(clause for clause in checked if isinstance(clause, Condition))


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
    # Python's True is an int, and JSON's true is no number. NaN equals nothing, itself included, and has no place in an order.
    has_type = isinstance(value, PYTHON_TYPES[column_type]) and isinstance(value, bool) == (column_type == BOOLEAN)
    return has_type and bool(value == value)


def _known_columns(columns: Columns) -> str:
    names = list(columns.by_name)
    if not names:
        return "it has none that can be filtered by"
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"it has {', '.join(names[:MAX_NAMES])}{more}"
