"""Random requests that mix all options, for every endpoint: most of them right, some with one thing wrong."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from random import Random
from typing import Any

import numpy as np

from tests.oracle.faults import FIELDS, NULLABLE
from tests.oracle.filters import LISTS
from tests.oracle.world import MAX_K, MAX_LIST_IDS, Id, Scores, World

ENDPOINTS = {
    "/recommend": 6,
    "/recommend/batch": 2,
    "/recommend/history": 4,
    "/similar/items": 2,
    "/similar/users": 1,
    "/score": 2,
    "/explain": 2,
}
SPOILED = 0.15  # share of requests with something wrong
NOBODY: Mapping[str, Sequence[Id]] = {
    "integer": (-7, 10**6, 2**63, 10**400),
    "row": (-1, 10**6, 2**63),
    "string": ("nobody", "Ü", "x" * 512),
}
OTHER_TYPE = {"integer": "1", "row": "1", "string": 1}


class Requests:
    """A stream of (endpoint, body), drawn by `seed`; a body names its model unless that is the service's default."""

    def __init__(self, worlds: Mapping[str, World], default: str, seed: int) -> None:
        self._worlds, self._default, self._draw = worlds, default, Random(seed)

    def one(self, name: str | None = None, endpoint: str | None = None) -> tuple[str, dict[str, Any]]:
        """The next request, to the model called `name` and to `endpoint`, or to any."""
        world = self._worlds[name or self._draw.choice(list(self._worlds))]
        chosen = endpoint or self._draw.choices(list(ENDPOINTS), list(ENDPOINTS.values()))[0]
        body = Body(world, self._draw).made(chosen)
        if world.name != self._default or self._draw.random() < 0.2:
            body["model"] = world.name
        if self._draw.random() < 0.05:
            body = dict.fromkeys([field for field in NULLABLE if field in FIELDS[chosen]]) | body
        if self._draw.random() < SPOILED:
            body = Spoiler(world, self._draw).spoiled(chosen, body)
        return chosen, body


class Body:
    """Requests that can be answered, but for users who are unknown now and then."""

    def __init__(self, world: World, draw: Random) -> None:
        self._world, self._draw = world, draw

    @property
    def _explains(self) -> bool:
        return self._world.tables is not None and bool(self._world.popularity.any())

    def made(self, endpoint: str) -> dict[str, Any]:
        return self._makers()[endpoint]()

    def _makers(self) -> dict[str, Callable[[], dict[str, Any]]]:
        return {
            "/recommend": self._recommend,
            "/recommend/batch": self._batch,
            "/recommend/history": self._history,
            "/similar/items": self._similar_items,
            "/similar/users": lambda: {"user_id": self._user(), **self._k(0.5)},
            "/score": self._score,
            "/explain": self._explain,
        }

    def _recommend(self) -> dict[str, Any]:
        user = self._user()
        body = {"user_id": user, **self._options(user)}
        if self._chance(0.12):
            body["fallback"] = "popular"
            if self._chance(0.8):
                body["user_id"] = self._draw.choice(NOBODY[self._world.id_kind])
        return body

    def _batch(self) -> dict[str, Any]:
        sizes = [1, 2, 3, 8, 40, 100] if self._world.tables is not None else [1, 2, 3, 8, 40]  # a forward takes its time
        users = [self._user() for _ in range(self._draw.choice(sizes))]
        body = {"user_ids": users, **self._options(users[0])}
        if self._chance(0.4):
            users.insert(self._draw.randrange(len(users) + 1), self._draw.choice(NOBODY[self._world.id_kind]))
            body.update({"fallback": "popular"} if self._chance(0.4) else {})
        if len(users) > 3:
            body["k"] = self._draw.choice([1, 5, 20])
        if self._chance(0.2):
            body["strict"] = self._chance(0.5)
        return body

    def _history(self) -> dict[str, Any]:
        body = self._options(self._user())
        tables = self._world.tables
        if tables is not None and tables.order_known and self._chance(0.25):
            body.pop("include", None)
            size = self._draw.choice([1, 1, 1e-30, 1e30]) if tables.cosine else 1
            return {"vector": [size * self._draw.gauss(0, 1) for _ in range(tables.items.shape[1])], **body}
        body["item_ids"] = self._with_double(self._some_items(self._draw.choice([1, 1, 2, 5, 30])))
        if self._chance(0.4):
            body["negative_item_ids"] = self._some_items(self._draw.choice([0, 1, 3]))
        if self._chance(0.3):
            body["weights"] = [self._draw.choice([1, 0.1, 2.5, 7, 1e-3, 3e38]) for _ in body["item_ids"]]
        if self._chance(0.3):
            body["exclude_seen"] = self._chance(0.5)
        return body

    def _similar_items(self) -> dict[str, Any]:
        body = {"item_id": self._item(), **self._ranking(self._user())}
        return {**body, "include": ["metadata"]} if self._chance(0.3) else body

    def _score(self) -> dict[str, Any]:
        items = self._with_double(self._some_items(self._draw.choice([1, 3, 20, 500])))
        if self._chance(0.3):
            items.insert(self._draw.randrange(len(items) + 1), self._draw.choice(NOBODY[self._world.id_kind]))
        return {"user_id": self._user(), "item_ids": items}

    def _explain(self) -> dict[str, Any]:
        body = {"user_id": self._user(), "item_id": self._item(), **self._k(0.5)}
        return {**body, "include": ["metadata"]} if self._chance(0.4) else body

    def _options(self, user: Id) -> dict[str, Any]:
        body = self._ranking(user)
        if self._chance(0.4):
            body["exclude_seen"] = self._chance(0.7)
        if self._world.tables is not None and self._chance(0.25):
            body["diversity"] = self._draw.choice([0, 0.3, 0.3, 1, 1.0, 0.9])
            body["k"] = min(body.get("k", 10), 200)
        if self._chance(0.3):
            words = ["metadata", "explanation"] if self._explains else ["metadata"]
            body["include"] = self._draw.choices(words, k=self._draw.randint(0, 3))
            body["k"] = min(body.get("k", 10), 100)
        return body

    def _ranking(self, user: Id) -> dict[str, Any]:
        body = self._k(0.8)
        if self._chance(0.4):
            body["exclude_item_ids"] = self._excluded(user)
        if self._chance(0.2):
            body["candidate_item_ids"] = self._some_items(self._draw.choice([1, 2, 10, 200, 3000]))
        if self._world.metadata is not None and self._chance(0.45):
            body["filter"] = Filter(self._world, self._draw).made()
        return body

    def _k(self, chance: float) -> dict[str, Any]:
        sizes = [1, 2, 10, 16, 17, 50, 100, 500, len(self._world.item_ids), MAX_K]
        return {"k": self._draw.choices(sizes, [3, 3, 8, 3, 3, 3, 3, 2, 0.3, 0.3])[0]} if self._chance(chance) else {}

    def _excluded(self, user: Id) -> list[Id]:
        """None, some, the user's very best ones, or nearly all items."""
        ids = self._world.item_ids
        size = self._draw.choice([0, 1, 5, 50, 500, len(ids) - 3])
        if size == len(ids) - 3 or self._chance(0.3):
            return self._some_items(size)
        best = np.argsort(-self._scores(user), kind="stable")[: size + 5]
        return [ids[row] for row in self._draw.sample(best.tolist(), size)]

    def _scores(self, user: Id) -> Scores:
        row = self._world.user_row.get(user)
        return self._world.popularity if row is None else self._world.scores(row)

    def _user(self) -> Id:
        if self._chance(0.02):
            return self._draw.choice(NOBODY[self._world.id_kind])
        return self._draw.choice(self._world.user_ids)

    def _item(self) -> Id:
        if self._chance(0.05):
            return self._world.item_ids[0]  # where a model has a row for padding
        return self._draw.choice(self._world.item_ids)

    def _some_items(self, count: int) -> list[Id]:
        return [self._item()] if count == 1 else self._draw.sample(self._world.item_ids, count)

    def _with_double(self, items: list[Id]) -> list[Id]:
        return [*items, items[0]] if self._chance(0.1) else items

    def _chance(self, share: float) -> bool:
        return self._draw.random() < share


class Filter:
    """Filters of every operator, from those that nothing passes to those that nearly all items pass."""

    def __init__(self, world: World, draw: Random) -> None:
        self._world, self._draw = world, draw

    def made(self) -> dict[str, Any]:
        chosen = self._draw.random()
        if chosen < 0.1:
            return self._draw.choice([{}, {"year": {"gte": 2000, "lte": 1990}}, {"genres": {"any": ["No such genre"]}}])
        if chosen < 0.3:
            return self._draw.choice([{"genres": {"none": ["Western"]}}, {"year": {"gte": 1920}}, {"classic": {"eq": False}}])
        columns = self._draw.sample(sorted(self._world.types), self._draw.choice([1, 1, 2]))
        return {column: self._clauses(column) for column in columns}

    def _clauses(self, column: str) -> dict[str, Any]:
        names = [*LISTS, "eq"] + (["gte", "lte"] if self._world.types[column] != "boolean" else [])
        chosen = self._draw.sample(names, self._draw.choice([1, 1, 2]))
        return {name: self._value(column, name) for name in chosen}

    def _value(self, column: str, name: str) -> Any:
        filled = [values for values in self._world.values[column] if values]
        if name == "all" and self._draw.random() < 0.7:
            return self._draw.choice(filled)
        if name in LISTS:
            return [self._off(self._draw.choice(self._draw.choice(filled))) for _ in range(self._draw.choice([1, 2, 6]))]
        return self._off(self._draw.choice(self._draw.choice(filled)))

    def _off(self, value: Any) -> Any:
        """Now and then a value that no item has, of the same type."""
        if isinstance(value, bool) or self._draw.random() < 0.8:
            return value
        if isinstance(value, str):
            return self._draw.choice([value + "!", value.upper()])
        return self._draw.choice([float(value), value + 0.25, 10**400, -(2**70)])


class Spoiler:
    """One thing wrong in a request that was right."""

    def __init__(self, world: World, draw: Random) -> None:
        self._world, self._draw = world, draw

    def spoiled(self, endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
        field, value = self._draw.choice(self._ways(endpoint, body))
        return {**body, field: value}

    def _ways(self, endpoint: str, body: Mapping[str, Any]) -> list[tuple[str, Any]]:
        nobody, other = self._draw.choice(NOBODY[self._world.id_kind]), OTHER_TYPE[self._world.id_kind]
        ways: list[tuple[str, Any]] = [("surprise", 1), ("model", "nobody's"), ("model", ""), ("model", 3)]
        if endpoint != "/score":
            ways += [("k", value) for value in (0, -1, MAX_K + 1, True, 1.0, "3", None)]
        for field in ("user_id", "item_id"):
            if field in body:
                ways += [(field, value) for value in (nobody, other, None, 1.5, True, "", [body[field]], "x" * 513)]
        for field in ("exclude_item_ids", "candidate_item_ids", "item_ids", "negative_item_ids", "user_ids"):
            if body.get(field) is not None:
                ways += [(field, self._with(body[field], one)) for one in (nobody, other, None, 1.5)]
                ways += [(field, 3), (field, list(islice(cycle(_short(body[field])), MAX_LIST_IDS + 1)))]
        ways += [(field, []) for field in ("candidate_item_ids", "item_ids", "user_ids") if field in body]
        if endpoint in ("/recommend", "/recommend/batch", "/recommend/history"):
            ways += [("diversity", value) for value in (-0.1, 1.5, "1", None, True)]
            ways += [("include", ["metadata", "secrets"]), ("include", "metadata"), ("exclude_seen", 1), ("exclude_seen", "true")]
            ways += [("include", ["explanation"]), ("diversity", 0.5)] * (self._world.tables is None)
        if endpoint == "/recommend/history":
            ways += self._ways_of_history(body)
        if endpoint in ("/recommend", "/recommend/batch"):
            ways += [("fallback", value) for value in ("random", True, 1)]
        if endpoint not in ("/similar/users", "/score", "/explain"):
            ways += [("filter", value) for value in self._filters()] * 2
        return ways

    def _ways_of_history(self, body: Mapping[str, Any]) -> list[tuple[str, Any]]:
        width = self._world.tables.items.shape[1] if self._world.tables is not None else 4
        if "vector" in body:
            vectors: Sequence[Any] = ([0] * width, [0.5] * (width - 1), [0.5] * (width + 1), [], ["1"] * width, [1e39] * width)
            return [("vector", value) for value in vectors] + [("item_ids", [self._world.item_ids[0]]), ("weights", [1])]
        count = len(body["item_ids"])
        weights: Sequence[Any] = ([1] * (count + 1), [0] * count, [-1.0] * count, [], ["1"] * count, [1e39] * count)
        return [("weights", value) for value in weights] + [("vector", [0.5] * width)]

    def _filters(self) -> list[Any]:
        nothings: tuple[Any, ...] = ([], "word", None, {})
        found: list[Any] = [[], "genres", {"no such column": {"eq": 1}}, {"mixed": {"eq": 1}}, {"title": {}}, {"title": None}]
        for column, kind in self._world.types.items():
            wrong: tuple[Any, ...] = {"string": (1, True), "number": ("1990", True), "boolean": (1, "true")}[kind]
            found += [{column: {name: self._draw.choice(wrong)}} for name in ("eq", "gte", "lte")]
            found += [{column: {name: [self._draw.choice(wrong)]}} for name in LISTS]
            found += [{column: {name: value}} for name in LISTS for value in nothings]
            found += [{column: {"eq": value}} for value in nothings if value != "word"] + [{column: {"like": "x"}}, {column: 1990}]
        return found

    def _with(self, values: Sequence[Any], one: Any) -> list[Any]:
        place = self._draw.randrange(len(values) + 1)
        return [*values[:place], one, *values[place:]]


def _short(ids: list[Any]) -> list[Any]:
    """Those of which ten thousand make no body that is refused for its size."""
    return [each for each in ids if len(str(each)) < 20] or [0]
