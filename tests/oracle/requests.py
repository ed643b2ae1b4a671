"""Random requests that mix all options, for every endpoint: most of them right, some with one thing wrong."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from random import Random
from typing import Any

import numpy as np

from recoserve.bundle.arrays import Float64Array
from tests.oracle.faults import FIELDS, NULLABLE
from tests.oracle.filters import LISTS
from tests.oracle.world import MAX_K, MAX_LIST_IDS, Id, World

ENDPOINTS = {
    "/recommend": 6,
    "/recommend/batch": 2,
    "/recommend/history": 4,
    "/similar/items": 2,
    "/similar/users": 1,
    "/score": 2,
    "/explain": 2,
}
WRONG_SHARE = 0.15  # of the requests
UNKNOWN_IDS: Mapping[str, Sequence[Id]] = {
    "integer": (-7, 10**6, 2**63, 10**400),
    "row": (-1, 10**6, 2**63),
    "string": ("nobody", "Ü", "x" * 512),
}
ID_OF_ANOTHER_TYPE = {"integer": "1", "row": "1", "string": 1}


class Requests:
    """Random pairs of endpoint and body, the same for the same `seed`; a body names its model unless that is the default one."""

    def __init__(self, worlds: Mapping[str, World], default: str, seed: int) -> None:
        self._worlds, self._default, self._random = worlds, default, Random(seed)

    def draw(self, name: str | None = None, endpoint: str | None = None) -> tuple[str, dict[str, Any]]:
        """The endpoint and the body of the next request, of the model `name` and to `endpoint` where these are given."""
        world = self._worlds[name or self._random.choice(list(self._worlds))]
        endpoint = endpoint or self._random.choices(list(ENDPOINTS), list(ENDPOINTS.values()))[0]
        body = Body(world, self._random).draw(endpoint)
        if world.name != self._default or self._random.random() < 0.2:
            body["model"] = world.name
        if self._random.random() < 0.05:
            body = dict.fromkeys([field for field in NULLABLE if field in FIELDS[endpoint]]) | body
        if self._random.random() < WRONG_SHARE:
            body = FaultInjector(world, self._random).inject(endpoint, body)
        return endpoint, body


class Body:
    """Bodies that can be answered, but for a user who is unknown now and then."""

    def __init__(self, world: World, random: Random) -> None:
        self._world, self._random = world, random

    @property
    def _explains(self) -> bool:
        return self._world.tables is not None and bool(self._world.popularity.any())

    def draw(self, endpoint: str) -> dict[str, Any]:
        """A random body for an endpoint."""
        bodies: dict[str, Callable[[], dict[str, Any]]] = {
            "/recommend": self._recommend,
            "/recommend/batch": self._batch,
            "/recommend/history": self._history,
            "/similar/items": self._similar_items,
            "/similar/users": lambda: {"user_id": self._user(), **self._k(0.5)},
            "/score": self._score,
            "/explain": self._explain,
        }
        return bodies[endpoint]()

    def _recommend(self) -> dict[str, Any]:
        user = self._user()
        body = {"user_id": user, **self._options(user)}
        if self._chance(0.12):
            body["fallback"] = "popular"
            if self._chance(0.8):
                body["user_id"] = self._random.choice(UNKNOWN_IDS[self._world.id_kind])
        return body

    def _batch(self) -> dict[str, Any]:
        sizes = [1, 2, 3, 8, 40, 100] if self._world.tables is not None else [1, 2, 3, 8, 40]  # scores by the framework take long
        users = [self._user() for _ in range(self._random.choice(sizes))]
        body = {"user_ids": users, **self._options(users[0])}
        if self._chance(0.4):
            users.insert(self._random.randrange(len(users) + 1), self._random.choice(UNKNOWN_IDS[self._world.id_kind]))
            body.update({"fallback": "popular"} if self._chance(0.4) else {})
        if len(users) > 3:
            body["k"] = self._random.choice([1, 5, 20])
        if self._chance(0.2):
            body["strict"] = self._chance(0.5)
        return body

    def _history(self) -> dict[str, Any]:
        body = self._options(self._user())
        tables = self._world.tables
        if tables is not None and tables.same_columns and self._chance(0.25):
            body.pop("include", None)
            size = self._random.choice([1, 1, 1e-30, 1e30]) if tables.cosine else 1
            return {"vector": [size * self._random.gauss(0, 1) for _ in range(tables.items.shape[1])], **body}
        body["item_ids"] = self._with_repetition(self._some_items(self._random.choice([1, 1, 2, 5, 30])))
        if self._chance(0.4):
            body["negative_item_ids"] = self._some_items(self._random.choice([0, 1, 3]))
        if self._chance(0.3):
            body["weights"] = [self._random.choice([1, 0.1, 2.5, 7, 1e-3, 3e38]) for _ in body["item_ids"]]
        if self._chance(0.3):
            body["exclude_seen"] = self._chance(0.5)
        return body

    def _similar_items(self) -> dict[str, Any]:
        body = {"item_id": self._item(), **self._ranking(self._user())}
        return {**body, "include": ["metadata"]} if self._chance(0.3) else body

    def _score(self) -> dict[str, Any]:
        items = self._with_repetition(self._some_items(self._random.choice([1, 3, 20, 500])))
        if self._chance(0.3):
            items.insert(self._random.randrange(len(items) + 1), self._random.choice(UNKNOWN_IDS[self._world.id_kind]))
        return {"user_id": self._user(), "item_ids": items}

    def _explain(self) -> dict[str, Any]:
        body = {"user_id": self._user(), "item_id": self._item(), **self._k(0.5)}
        return {**body, "include": ["metadata"]} if self._chance(0.4) else body

    def _options(self, user: Id) -> dict[str, Any]:
        body = self._ranking(user)
        if self._chance(0.4):
            body["exclude_seen"] = self._chance(0.7)
        if self._world.tables is not None and self._chance(0.25):
            body["diversity"] = self._random.choice([0, 0.3, 0.3, 1, 1.0, 0.9])
            body["k"] = min(body.get("k", 10), 200)
        if self._chance(0.3):
            words = ["metadata", "explanation"] if self._explains else ["metadata"]
            body["include"] = self._random.choices(words, k=self._random.randint(0, 3))
            body["k"] = min(body.get("k", 10), 100)
        return body

    def _ranking(self, user: Id) -> dict[str, Any]:
        body = self._k(0.8)
        if self._chance(0.4):
            body["exclude_item_ids"] = self._excluded(user)
        if self._chance(0.2):
            body["candidate_item_ids"] = self._some_items(self._random.choice([1, 2, 10, 200, 3000]))
        if self._world.metadata is not None and self._chance(0.45):
            body["filter"] = Filter(self._world, self._random).draw()
        return body

    def _k(self, chance: float) -> dict[str, Any]:
        sizes = [1, 2, 10, 16, 17, 50, 100, 500, len(self._world.item_ids), MAX_K]
        return {"k": self._random.choices(sizes, [3, 3, 8, 3, 3, 3, 3, 2, 0.3, 0.3])[0]} if self._chance(chance) else {}

    def _excluded(self, user: Id) -> list[Id]:
        """No item, some, the user's best ones, or nearly all."""
        ids = self._world.item_ids
        size = self._random.choice([0, 1, 5, 50, 500, len(ids) - 3])
        if size == len(ids) - 3 or self._chance(0.3):
            return self._some_items(size)
        best = np.argsort(-self._scores(user), kind="stable")[: size + 5]
        return [ids[row] for row in self._random.sample(best.tolist(), size)]

    def _scores(self, user: Id) -> Float64Array:
        row = self._world.user_row.get(user)
        return self._world.popularity if row is None else self._world.scores(row)

    def _user(self) -> Id:
        if self._chance(0.02):
            return self._random.choice(UNKNOWN_IDS[self._world.id_kind])
        return self._random.choice(self._world.user_ids)

    def _item(self) -> Id:
        if self._chance(0.05):
            return self._world.item_ids[0]  # the row for padding, in models that have one
        return self._random.choice(self._world.item_ids)

    def _some_items(self, count: int) -> list[Id]:
        return [self._item()] if count == 1 else self._random.sample(self._world.item_ids, count)

    def _with_repetition(self, items: list[Id]) -> list[Id]:
        return [*items, items[0]] if self._chance(0.1) else items

    def _chance(self, share: float) -> bool:
        return self._random.random() < share


class Filter:
    """Filters of every operator, from those that no item passes to those that nearly all pass."""

    def __init__(self, world: World, random: Random) -> None:
        self._world, self._random = world, random

    def draw(self) -> dict[str, Any]:
        """A random filter."""
        chance = self._random.random()
        if chance < 0.1:
            return self._random.choice([{}, {"year": {"gte": 2000, "lte": 1990}}, {"genres": {"any": ["No such genre"]}}])
        if chance < 0.3:
            return self._random.choice([{"genres": {"none": ["Western"]}}, {"year": {"gte": 1920}}, {"classic": {"eq": False}}])
        columns = self._random.sample(sorted(self._world.types), self._random.choice([1, 1, 2]))
        return {column: self._clauses(column) for column in columns}

    def _clauses(self, column: str) -> dict[str, Any]:
        possible = [*LISTS, "eq"] + (["gte", "lte"] if self._world.types[column] != "boolean" else [])
        operators = self._random.sample(possible, self._random.choice([1, 1, 2]))
        return {operator: self._operand(column, operator) for operator in operators}

    def _operand(self, column: str, operator: str) -> Any:
        item_values = [values for values in self._world.values[column] if values]
        if operator == "all" and self._random.random() < 0.7:
            return self._random.choice(item_values)
        if operator in LISTS:
            return [
                self._maybe_changed(self._random.choice(self._random.choice(item_values)))
                for _ in range(self._random.choice([1, 2, 6]))
            ]
        return self._maybe_changed(self._random.choice(self._random.choice(item_values)))

    def _maybe_changed(self, value: Any) -> Any:
        """The value, or now and then another of its type that no item has."""
        if isinstance(value, bool) or self._random.random() < 0.8:
            return value
        if isinstance(value, str):
            return self._random.choice([value + "!", value.upper()])
        return self._random.choice([float(value), value + 0.25, 10**400, -(2**70)])


class FaultInjector:
    """Puts one fault into a body that was right."""

    def __init__(self, world: World, random: Random) -> None:
        self._world, self._random = world, random

    def inject(self, endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body with one field that is wrong."""
        field, value = self._random.choice(self._wrong_fields(endpoint, body))
        return {**body, field: value}

    def _wrong_fields(self, endpoint: str, body: Mapping[str, Any]) -> list[tuple[str, Any]]:
        unknown, another_type = self._random.choice(UNKNOWN_IDS[self._world.id_kind]), ID_OF_ANOTHER_TYPE[self._world.id_kind]
        fields: list[tuple[str, Any]] = [("surprise", 1), ("model", "nobody's"), ("model", ""), ("model", 3)]
        if endpoint != "/score":
            fields += [("k", value) for value in (0, -1, MAX_K + 1, True, 1.0, "3", None)]
        for field in ("user_id", "item_id"):
            if field in body:
                fields += [(field, value) for value in (unknown, another_type, None, 1.5, True, "", [body[field]], "x" * 513)]
        for field in ("exclude_item_ids", "candidate_item_ids", "item_ids", "negative_item_ids", "user_ids"):
            if body.get(field) is not None:
                fields += [(field, self._with(body[field], wrong)) for wrong in (unknown, another_type, None, 1.5)]
                fields += [(field, 3), (field, list(islice(cycle(_short(body[field])), MAX_LIST_IDS + 1)))]
        fields += [(field, []) for field in ("candidate_item_ids", "item_ids", "user_ids") if field in body]
        if endpoint in ("/recommend", "/recommend/batch", "/recommend/history"):
            fields += [("diversity", value) for value in (-0.1, 1.5, "1", None, True)]
            fields += [("include", ["metadata", "secrets"]), ("include", "metadata"), ("exclude_seen", 1), ("exclude_seen", "true")]
            fields += [("include", ["explanation"]), ("diversity", 0.5)] * (self._world.tables is None)
        if endpoint == "/recommend/history":
            fields += self._wrong_history_fields(body)
        if endpoint in ("/recommend", "/recommend/batch"):
            fields += [("fallback", value) for value in ("random", True, 1)]
        if endpoint not in ("/similar/users", "/score", "/explain"):
            fields += [("filter", value) for value in self._wrong_filters()] * 2
        return fields

    def _wrong_history_fields(self, body: Mapping[str, Any]) -> list[tuple[str, Any]]:
        width = self._world.tables.items.shape[1] if self._world.tables is not None else 4
        if "vector" in body:
            vectors: Sequence[Any] = ([0] * width, [0.5] * (width - 1), [0.5] * (width + 1), [], ["1"] * width, [1e39] * width)
            return [("vector", value) for value in vectors] + [("item_ids", [self._world.item_ids[0]]), ("weights", [1])]
        count = len(body["item_ids"])
        weights: Sequence[Any] = ([1] * (count + 1), [0] * count, [-1.0] * count, [], ["1"] * count, [1e39] * count)
        return [("weights", value) for value in weights] + [("vector", [0.5] * width)]

    def _wrong_filters(self) -> list[Any]:
        empty: tuple[Any, ...] = ([], "word", None, {})
        filters: list[Any] = [[], "genres", {"no such column": {"eq": 1}}, {"mixed": {"eq": 1}}, {"title": {}}, {"title": None}]
        for column, kind in self._world.types.items():
            wrong: tuple[Any, ...] = {"string": (1, True), "number": ("1990", True), "boolean": (1, "true")}[kind]
            filters += [{column: {name: self._random.choice(wrong)}} for name in ("eq", "gte", "lte")]
            filters += [{column: {name: [self._random.choice(wrong)]}} for name in LISTS]
            filters += [{column: {name: value}} for name in LISTS for value in empty]
            filters += [{column: {"eq": value}} for value in empty if value != "word"] + [{column: {"like": "x"}}, {column: 1990}]
        return filters

    def _with(self, values: Sequence[Any], inserted: Any) -> list[Any]:
        index = self._random.randrange(len(values) + 1)
        return [*values[:index], inserted, *values[index:]]


def _short(ids: list[Any]) -> list[Any]:
    """The ids of which ten thousand make no body that is refused for its size."""
    return [external for external in ids if len(str(external)) < 20] or [0]
