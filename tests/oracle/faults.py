"""Every fault of a request that a problem document may name."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.oracle.expected import direction, rows_of
from tests.oracle.filters import LISTS
from tests.oracle.world import MAX_K, MAX_LIST_IDS, World, kind_of

INVALID, UNKNOWN_ID, OUT_OF_RANGE, UNKNOWN_MODEL = "invalid-request", "unknown-id", "id-out-of-range", "unknown-model"
LARGEST = 3.4028234663852886e38  # of float32
NEEDS_VECTORS = ("/recommend/history", "/similar/items", "/similar/users", "/explain")

RANKING = ("model", "k", "exclude_item_ids", "candidate_item_ids", "filter")
OPTIONS = (*RANKING, "exclude_seen", "diversity", "include")
FIELDS = {
    "/recommend": ("user_id", "fallback", *OPTIONS),
    "/recommend/batch": ("user_ids", "strict", "fallback", *OPTIONS),
    "/recommend/history": ("item_ids", "negative_item_ids", "weights", "vector", *OPTIONS),
    "/similar/items": ("item_id", "include", *RANKING),
    "/similar/users": ("user_id", "k", "model"),
    "/score": ("user_id", "item_ids", "model"),
    "/explain": ("user_id", "item_id", "k", "include", "model"),
}
REQUIRED = ("user_id", "user_ids", "item_id")
NULLABLE = ("model", "candidate_item_ids", "fallback")


@dataclass(frozen=True)
class Fault:
    """A problem's type and the pointer that it names; `below`: it may as well be named at any depth below the pointer."""

    kind: str
    pointer: str
    below: bool = False

    def covers(self, kind: str, pointer: str) -> bool:
        """Whether this fault lets a problem document name `kind` at `pointer`."""
        return kind == self.kind and (pointer == self.pointer or (self.below and pointer.startswith(self.pointer)))


def faults(worlds: Mapping[str, World], default: str, endpoint: str, body: Mapping[str, Any]) -> list[Fault]:
    """All faults of a request; none where it must be answered."""
    known = list(_wrong_shape(endpoint, body))
    name = body.get("model", default)
    if not (isinstance(name, str) and 1 <= len(name) <= 128):
        return [*known, Fault(INVALID, "/model")]
    if name not in worlds:
        return [*known, Fault(UNKNOWN_MODEL, "/model")]
    world = worlds[name]
    for field in FIELDS[endpoint]:
        if field in body:
            known += CHECKS[field](world, f"/{field}", body[field], body)
    known += _impossible(world, endpoint, body)
    return known or list(_without_direction(world, endpoint, body))


def _wrong_shape(endpoint: str, body: Mapping[str, Any]) -> Iterator[Fault]:
    known = FIELDS[endpoint]
    if not body.keys() <= set(known):
        yield Fault(INVALID, "")
    for field in REQUIRED + (("item_ids",) if endpoint == "/score" else ()):
        if field in known and field not in body:
            yield Fault(INVALID, f"/{field}")
    if endpoint == "/recommend/history":
        yield from _history_sources(body)


def _history_sources(body: Mapping[str, Any]) -> Iterator[Fault]:
    items, vector, weights = body.get("item_ids"), body.get("vector"), body.get("weights")
    if (items is None) == (vector is None) or (vector is not None and (weights is not None or body.get("negative_item_ids"))):
        yield Fault(INVALID, "", below=True)
    if isinstance(items, list) and isinstance(weights, list) and len(items) != len(weights):
        yield Fault(INVALID, "", below=True)
    if isinstance(weights, list) and any(_is_number(weight) and weight <= 0 for weight in weights):
        yield Fault(INVALID, "", below=True)


def _impossible(world: World, endpoint: str, body: Mapping[str, Any]) -> Iterator[Fault]:
    """What this model or its bundle can't do, and an explanation of a vector, which has no items that could explain it."""
    explained = "explanation" in (body.get("include") or ())
    if world.tables is None and (endpoint in NEEDS_VECTORS or body.get("diversity") or explained):
        yield Fault(INVALID, "", below=True)
    if (explained and "vector" in body) or (_needs_interactions(endpoint, explained) and not world.popularity.any()):
        yield Fault(INVALID, "", below=True)


def _without_direction(world: World, endpoint: str, body: Mapping[str, Any]) -> Iterator[Fault]:
    """A history whose vectors sum to zero, such as that of an item whose vector is zero."""
    if endpoint == "/recommend/history" and world.tables is not None and "item_ids" in body:
        liked, disliked = (rows_of(world, body.get(field) or []) for field in ("item_ids", "negative_item_ids"))
        if not direction(world.tables, liked, disliked, body.get("weights")).any():
            yield Fault(INVALID, "", below=True)


def _needs_interactions(endpoint: str, explained: bool) -> bool:
    return endpoint == "/explain" or (explained and endpoint != "/recommend/history")


def _id(side: str) -> Callable[..., Iterator[Fault]]:
    def check(world: World, pointer: str, value: Any, body: Mapping[str, Any]) -> Iterator[Fault]:
        rows = world.user_row if side == "user" else world.item_row
        kind = str if world.id_kind == "string" else int
        if type(value) is not kind or (isinstance(value, str) and not 0 < len(value) <= 512):
            yield Fault(INVALID, pointer)
        elif value not in rows and not (side == "user" and _has_fallback(world, body)):
            yield Fault(OUT_OF_RANGE if world.id_kind == "row" else UNKNOWN_ID, pointer)
            if side == "user" and body.get("fallback") == "popular":
                yield Fault(INVALID, "", below=True)

    return check


def _has_fallback(world: World, body: Mapping[str, Any]) -> bool:
    return body.get("fallback") == "popular" and bool(world.popularity.any())


def _list_of(check: Callable[..., Iterator[Fault]], least: int = 0) -> Callable[..., Iterator[Fault]]:
    def check_list(world: World, pointer: str, value: Any, body: Mapping[str, Any]) -> Iterator[Fault]:
        if not isinstance(value, list) or not least <= len(value) <= MAX_LIST_IDS:
            yield Fault(INVALID, pointer)
        else:
            for index, member in enumerate(value):
                yield from check(world, f"{pointer}/{index}", member, body)

    return check_list


def _value(is_right: Callable[[Any], bool]) -> Callable[..., Iterator[Fault]]:
    def check(world: World, pointer: str, value: Any, body: Mapping[str, Any]) -> Iterator[Fault]:
        if not is_right(value):
            yield Fault(INVALID, pointer)

    return check


def _users(world: World, pointer: str, value: Any, body: Mapping[str, Any]) -> Iterator[Fault]:
    """In a batch an unknown user is a fault only where the request is strict; an id of the wrong type always is."""
    for fault in _list_of(_id("user"), 1)(world, pointer, value, body):
        if fault.kind == INVALID or body.get("strict"):
            yield fault


def _known_or_missing(world: World, pointer: str, value: Any, body: Mapping[str, Any]) -> Iterator[Fault]:
    """Items that are scored may be unknown."""
    yield from (fault for fault in _id("item")(world, pointer, value, body) if fault.kind == INVALID)


def _items(world: World, pointer: str, value: Any, body: Mapping[str, Any]) -> Iterator[Fault]:
    scored = "user_id" in body or "item_ids" not in body
    yield from _list_of(_known_or_missing if scored else _id("item"), 1)(world, pointer, value, body)


def _vector(world: World, pointer: str, value: Any, body: Mapping[str, Any]) -> Iterator[Fault]:
    yield from _list_of(_value(_is_number), 1)(world, pointer, value, body)
    width = world.tables.items.shape[1] if world.tables else 0
    if isinstance(value, list) and (len(value) != width or not any(value)):
        yield Fault(INVALID, pointer)


def _include(world: World, pointer: str, value: Any, body: Mapping[str, Any]) -> Iterator[Fault]:
    words = ("metadata",) if "item_id" in body else ("metadata", "explanation")
    if not isinstance(value, list) or len(value) > 8:
        yield Fault(INVALID, pointer)
    else:
        yield from (Fault(INVALID, f"{pointer}/{index}") for index, word in enumerate(value) if word not in words)


def _filter(world: World, pointer: str, value: Any, body: Mapping[str, Any]) -> Iterator[Fault]:
    if not isinstance(value, dict) or len(value) > 64:
        yield Fault(INVALID, pointer)
        return
    for column, clauses in value.items():
        column_pointer = f"{pointer}/{column.replace('~', '~0').replace('/', '~1')}"
        if column not in world.values:  # a problem document doesn't repeat a name that isn't known
            yield Fault(INVALID, pointer, below=True)
        elif column not in world.types or not isinstance(clauses, dict) or not clauses or None in clauses.values():
            yield Fault(INVALID, column_pointer, below=True)
        else:
            for operator, operand in clauses.items():
                yield from _clause(world.types[column], column_pointer, operator, operand)


def _clause(kind: str, pointer: str, operator: str, operand: Any) -> Iterator[Fault]:
    if operator not in (*LISTS, "eq", "gte", "lte"):
        yield Fault(INVALID, pointer)
    elif operator not in LISTS:
        if kind_of(operand) != kind:
            yield Fault(INVALID, f"{pointer}/{operator}")
    elif not isinstance(operand, list) or not operand:
        yield Fault(INVALID, f"{pointer}/{operator}")
    else:
        wrong = (index for index, value in enumerate(operand) if kind_of(value) != kind)
        yield from (Fault(INVALID, f"{pointer}/{operator}/{index}") for index in wrong)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) <= LARGEST


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


CHECKS: dict[str, Callable[..., Iterator[Fault]]] = {
    "model": _value(lambda _: True),
    "k": _value(lambda value: type(value) is int and 1 <= value <= MAX_K),
    "user_id": _id("user"),
    "user_ids": _users,
    "item_id": _id("item"),
    "item_ids": _items,
    "negative_item_ids": _list_of(_id("item")),
    "weights": _list_of(_value(_is_number), 1),
    "vector": _vector,
    "exclude_item_ids": _list_of(_id("item")),
    "candidate_item_ids": _list_of(_id("item"), 1),
    "filter": _filter,
    "exclude_seen": _value(_is_flag),
    "strict": _value(_is_flag),
    "diversity": _value(lambda value: type(value) in (int, float) and 0 <= value <= 1),
    "include": _include,
    "fallback": _value(lambda value: value in (None, "popular")),
}
