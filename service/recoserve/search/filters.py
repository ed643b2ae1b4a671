"""Which items a filter lets pass: a request's clauses, checked, and the bit of every item."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from sys import getsizeof
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.columns import BOOLEAN, NUMBER, REASONS, STRING, Column, Columns
from recoserve.bundle.contract import BLOCK
from recoserve.errors import FieldError, InvalidRequest

LISTS, ORDERED = ("any", "all", "none", "in"), ("gte", "lte")
OPERATORS = (*LISTS, "eq", *ORDERED)
TYPES: Mapping[str, tuple[type, ...]] = {STRING: (str,), NUMBER: (int, float), BOOLEAN: (bool,)}
MOST_NAMES = 20  # of columns in one message
CACHE_BYTES = 64 << 20
ENTRY_BYTES = 1024  # what an entry of the cache costs beside its bits
NOT_EXPORTED = "this model's bundle has no columns to filter by; export it again with --items"


@dataclass(frozen=True, eq=False)
class Mask:
    """Which items pass: item i is bit i % 8 (from the least) of byte i // 8; zeros up to a whole block of items.

    `bits` uint8 [blocks * BLOCK / 8], not to be written; `count` is how many items pass.
    """

    bits: NDArray[np.uint8]
    count: int

    @classmethod
    def of_rows(cls, rows: NDArray[np.integer[Any]], items: int) -> Self:
        """The mask of some rows, in any order, of a catalogue of `items`."""
        flags = np.zeros(-(-items // BLOCK) * BLOCK, np.bool_)
        flags[rows] = True
        return cls.of_bits(np.packbits(flags, bitorder="little"))

    @classmethod
    def of_bits(cls, bits: NDArray[np.uint8]) -> Self:
        """The mask that some bits are, counted."""
        bits.setflags(write=False)
        return cls(bits, int(np.bitwise_count(bits.view(np.uint32)).sum()))

    def has(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each of some rows passes: int64 of any shape -> bool of that shape. Rows may lie in the last block's padding."""
        found: NDArray[np.uint8] = self.bits[rows >> 3] >> (rows & 7).astype(np.uint8) & 1
        return found.view(np.bool_)

    def rows(self) -> NDArray[np.int64]:
        """The rows that pass, ascending: int64 [count]."""
        return np.flatnonzero(np.unpackbits(self.bits, bitorder="little").view(np.bool_))

    def blocks(self) -> NDArray[np.bool_]:
        """Whether any item of each block passes: bool [blocks]."""
        return np.not_equal(self.bits.view(np.uint32), 0)

    def __and__(self, other: "Mask") -> "Mask":
        return Mask.of_bits(self.bits & other.bits)


@dataclass(frozen=True)
class Condition:
    """One clause on one column, checked; `values` are distinct, ascending and of the column's type (one for eq, gte and lte)."""

    column: str
    operator: str
    values: tuple[Any, ...]


def conditions(columns: Columns | None, wanted: Mapping[str, Mapping[str, Any]]) -> tuple[Condition, ...]:
    """A request's filter, column -> operator -> value or list, as conditions; raises InvalidRequest with every clause at fault."""
    if not wanted:
        return ()
    found = [each for name, clauses in wanted.items() for each in _of_column(columns, name, clauses)]
    faults = [each for each in found if isinstance(each, FieldError)]
    if faults:
        raise InvalidRequest("the filter doesn't fit this model's columns", faults)
    return tuple(each for each in found if isinstance(each, Condition))


def _of_column(columns: Columns | None, name: str, clauses: Mapping[str, Any]) -> Iterator[Condition | FieldError]:
    if columns is None:
        yield FieldError(("filter",), NOT_EXPORTED)
    elif name in columns.refused:
        yield FieldError(("filter", name), f"can't be filtered: {REASONS[columns.refused[name]]}")
    elif name not in columns.by_name:
        yield FieldError(("filter",), f"a column is not known; {_known(columns)}")
    elif not clauses:
        yield FieldError(("filter", name), f"must hold at least one of {', '.join(OPERATORS)}")
    else:
        for operator, value in clauses.items():
            yield from _clause(name, columns.by_name[name].type, operator, value)


def _clause(name: str, kind: str, operator: str, value: Any) -> Iterator[Condition | FieldError]:
    path: tuple[str, ...] = ("filter", name, operator)
    if operator not in OPERATORS:
        yield FieldError(path[:2], f"an operator is not known; there are {', '.join(OPERATORS)}")
    elif operator in ORDERED and kind == BOOLEAN:
        yield FieldError(path, "a column of booleans has no order; use eq")
    elif operator not in LISTS:
        yield Condition(name, operator, (value,)) if _fits(value, kind) else FieldError(path, _must_be(kind))
    elif not isinstance(value, list | tuple) or not value:
        yield FieldError(path, f"must be a list of at least one {kind}")
    elif bad := [place for place, each in enumerate(value) if not _fits(each, kind)]:
        yield from (FieldError((*path, place), _must_be(kind)) for place in bad)
    else:
        yield Condition(name, operator, tuple(sorted(set(value))))


def _must_be(kind: str) -> str:
    return f"must be a {kind}, as this column's values are"


def _fits(value: Any, kind: str) -> bool:
    """A boolean is no number, whatever Python says, and NaN is none either: it equals nothing, itself included."""
    return isinstance(value, TYPES[kind]) and isinstance(value, bool) == (kind == BOOLEAN) and bool(value == value)


def _known(columns: Columns) -> str:
    names = list(columns.by_name)
    rest = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"there are {', '.join(names[:MOST_NAMES])}{rest}" if names else "there are none that can be filtered"


class Masks:
    """The masks of filters over one catalogue; those used last are kept, up to `most_bytes`. Any thread may ask."""

    def __init__(self, columns: Columns | None, items: int, most_bytes: int = CACHE_BYTES) -> None:
        self._columns, self._items = columns.by_name if columns else {}, items
        self._kept: OrderedDict[frozenset[Condition], Mask] = OrderedDict()
        self._lock = threading.Lock()
        self._left = most_bytes

    def of(self, wanted: Sequence[Condition]) -> Mask:
        """The items that all conditions let pass; every item where there is no condition."""
        return self._of_one(wanted[0]) if len(wanted) == 1 else self._cached(frozenset(wanted), lambda: self._all_of(wanted))

    def _all_of(self, wanted: Sequence[Condition]) -> Mask:
        if not wanted:
            return Mask.of_rows(np.arange(self._items), self._items)
        return reduce(and_, map(self._of_one, wanted))

    def _of_one(self, condition: Condition) -> Mask:
        return self._cached(frozenset((condition,)), lambda: self._made(condition))

    def _made(self, condition: Condition) -> Mask:
        column = self._columns[condition.column]
        if condition.operator == "all":
            return self._having_all(column, condition.values)
        slices = list(_slices(column, condition))
        passing = Mask.of_rows(np.concatenate(slices) if len(slices) > 1 else slices[0], self._items)
        return self._without(passing) if condition.operator == "none" else passing

    def _having_all(self, column: Column, values: Sequence[Any]) -> Mask:
        """From the rarest value on, as long as an item is left."""
        slices = sorted((column.having(value) for value in values), key=len)
        left = Mask.of_rows(slices[0], self._items)
        for rows in slices[1:]:
            if not left.count:
                break
            left &= Mask.of_rows(rows, self._items)
        return left

    def _without(self, mask: Mask) -> Mask:
        flags = ~np.unpackbits(mask.bits, bitorder="little").view(np.bool_)
        flags[self._items :] = False
        return Mask.of_bits(np.packbits(flags, bitorder="little"))

    def _cached(self, key: frozenset[Condition], make: Callable[[], Mask]) -> Mask:
        with self._lock:
            if found := self._kept.get(key):
                self._kept.move_to_end(key)
                return found
        made = make()
        with self._lock:
            self._keep(key, made)
        return made

    def _keep(self, key: frozenset[Condition], mask: Mask) -> None:
        if key in self._kept:
            return
        self._kept[key] = mask
        self._left -= _cost(key, mask)
        while self._left < 0:
            self._left += _cost(*self._kept.popitem(last=False))


def _slices(column: Column, condition: Condition) -> Iterable[NDArray[np.integer[Any]]]:
    if condition.operator == "gte":
        return [column.at_least(condition.values[0])]
    if condition.operator == "lte":
        return [column.at_most(condition.values[0])]
    return map(column.having, condition.values)


def _cost(key: frozenset[Condition], mask: Mask) -> int:
    values = sum(getsizeof(each.values) + sum(map(getsizeof, each.values)) for each in key)
    return mask.bits.nbytes + ENTRY_BYTES + values
