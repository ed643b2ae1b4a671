"""`recoserve bench exclusions`: whether a response ever holds an excluded item. Random requests over HTTP, every item checked.

Half of what is excluded is drawn from the user's own best items, which would otherwise be in the response.
"""

import csv
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve_bench import report
from recoserve_bench.bundle import bundle_of
from recoserve_bench.http.bench import OURS, SERVERS
from recoserve_bench.http.load import is_complete
from recoserve_bench.http.server import Running, http_request
from recoserve_bench.peers.install import ROOT
from recoserve_bench.report import Figure, out
from recoserve_bench.tables import write_tables

USERS, ITEMS, DIM = 1000, 40_000, 32  # enough items for the search by bounds; fewer are scanned in full
SEEN, BEST = 60, 200
BUCKETS = 100
CALLERS = 4
MOST_SHOWN = 5
ENDPOINTS = ["/recommend"] * 5 + ["/recommend/batch", "/recommend/history", "/similar/items"]


@dataclass(frozen=True)
class World:
    """What is known of every user and item: each user's best and seen items int64 [U, n], each item's bucket int64 [N]."""

    best: Rows
    seen: Rows
    bucket: Rows


class Request(NamedTuple):
    """A request, and which items its response may hold, bool [N]."""

    path: str
    body: dict[str, Any]
    allowed: NDArray[np.bool_]


@dataclass
class Tally:
    """The responses to one caller, counted; `faults` are the requests whose response holds an item that it may not hold."""

    statuses: Counter[int] = field(default_factory=Counter)
    endpoints: Counter[str] = field(default_factory=Counter)
    items: int = 0
    faults: list[dict[str, Any]] = field(default_factory=list)


def run(folder: Path, requests: int, seed: int) -> Figure:
    """Send `requests` from several callers at once to the real service; the figure counts requests, items and faults."""
    users, items = (np.load(path) for path in write_tables(folder, "clustered", ITEMS, USERS, DIM))
    world = _world(users, items)
    server = next(server for server in SERVERS if server.name == OURS)
    requests_a_caller = -(-requests // CALLERS)
    with Running(server, ROOT, _bundle(folder, world)) as running, ProcessPoolExecutor(CALLERS) as callers:
        jobs = [callers.submit(_call, running.port, world, requests_a_caller, (seed, number)) for number in range(CALLERS)]
        tallies = [job.result() for job in jobs]
    endpoints: Counter[str] = sum((tally.endpoints for tally in tallies), Counter())
    statuses: Counter[int] = sum((tally.statuses for tally in tallies), Counter())
    faults = [fault for tally in tallies for fault in tally.faults]
    return {
        "system": OURS,
        "operation": "exclusions",
        "requests": endpoints.total(),
        "endpoints": dict(endpoints),
        "statuses": dict(statuses),
        "items": sum(tally.items for tally in tallies),
        "wrong": len(faults),
        "shown": faults[:MOST_SHOWN],
    }


def print_figure(figure: Figure) -> None:
    """Print how many requests were sent to each endpoint, and which responses were wrong."""
    rows = [[name, f"{count:,}"] for name, count in sorted(figure["endpoints"].items())]
    report.print_table(["endpoint", "requests"], rows)
    statuses = ", ".join(f"{count:,} times {status}" for status, count in sorted(figure["statuses"].items()))
    out.print(f"{figure['requests']:,} requests ({statuses}), {figure['items']:,} items in their responses:")
    out.print(f"{figure['wrong']} responses with an item that they may not hold", style="bold")
    for fault in figure["shown"]:
        out.print(str(fault), markup=False)


def _call(port: int, world: World, requests: int, seed: tuple[int, int]) -> Tally:
    """One caller: one connection, one request at a time."""
    tally = Tally()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for path, body, allowed in islice(_requests(world, np.random.default_rng(seed)), requests):
            connection.sendall(http_request(path, orjson.dumps(body)))
            status, document = _read_response(connection)
            tally.statuses[status] += 1
            tally.endpoints[path] += 1
            for items in _item_lists(document):
                tally.items += len(items)
                if is_faulty(items, allowed, body["k"]):
                    tally.faults.append({"path": path, "body": body, "items": items})
    return tally


def is_faulty(items: list[int], allowed: NDArray[np.bool_], k: int) -> bool:
    """Whether a list holds an item that isn't allowed, an item twice, or more than k items."""
    return not allowed[items].all() or len(set(items)) < len(items) or len(items) > k


def _requests(world: World, rng: np.random.Generator) -> Iterator[Request]:
    """Random requests, without end."""
    while True:
        user = int(rng.integers(USERS))
        body: dict[str, Any] = {"k": int(10 ** rng.uniform(0, 2))}
        allowed = np.ones(ITEMS, np.bool_)
        if rng.random() < 0.8:
            body["exclude_item_ids"] = _random_items(rng, world.best[user], int(10 ** rng.uniform(0, 2.5)))
            allowed[body["exclude_item_ids"]] = False
        if rng.random() < 0.2:
            first = int(rng.integers(BUCKETS))
            body["filter"] = {"bucket": {"gte": first, "lte": first + int(rng.integers(BUCKETS))}}
            allowed &= (world.bucket >= first) & (world.bucket <= body["filter"]["bucket"]["lte"])
        if rng.random() < 0.2:
            body["candidate_item_ids"] = _random_items(rng, world.best[user], 200)
            is_candidate = np.zeros(ITEMS, np.bool_)
            is_candidate[body["candidate_item_ids"]] = True
            allowed &= is_candidate
        path = ENDPOINTS[rng.integers(len(ENDPOINTS))]
        yield Request(path, body | _subject(path, world, rng, user, allowed), allowed)


def _subject(path: str, world: World, rng: np.random.Generator, user: int, allowed: NDArray[np.bool_]) -> dict[str, Any]:
    """The fields that name the user, the items or the history; the items that these rule out are cleared in `allowed`."""
    if path == "/similar/items":
        item = int(world.best[user, 0])
        allowed[item] = False
        return {"item_id": item}
    if path == "/recommend/history":
        liked, disliked = world.best[user, :3].tolist(), world.best[user, 3:5].tolist()
        allowed[liked + disliked] = False
        return {"item_ids": liked, "negative_item_ids": disliked}
    if path == "/recommend/batch":
        return {"user_ids": [user, *rng.integers(0, USERS, 3).tolist()], "diversity": float(rng.integers(2)) / 2}
    if rng.random() < 0.5:
        allowed[world.seen[user]] = False
        return {"user_id": user, "exclude_seen": True, "diversity": float(rng.integers(2)) / 2}
    return {"user_id": user}


def _random_items(rng: np.random.Generator, best: Rows, count: int) -> list[int]:
    """Half of them from the user's best items, half from all; some may come twice."""
    half = -(-count // 2)
    items: list[int] = np.concatenate([rng.choice(best, half), rng.integers(0, ITEMS, count - half)]).tolist()
    return items


def _read_response(connection: socket.socket) -> tuple[int, Any]:
    """The status and the JSON of the next response."""
    received = b""
    while not is_complete(received):
        more = connection.recv(1 << 16)
        if not more:
            raise ConnectionError("the service closed the connection")
        received += more
    return int(received[9:12]), orjson.loads(received[received.index(b"\r\n\r\n") :])


def _item_lists(document: dict[str, Any]) -> Iterator[list[int]]:
    """The item ids of each list of a response; none of a problem."""
    for result in document.get("results", [document] if "items" in document else []):
        yield [item["item_id"] for item in result["items"]]


def _world(users: Float32Array, items: Float32Array) -> World:
    rng = np.random.default_rng(3)
    best = np.argsort(-(users @ items.T), axis=1)[:, :BEST]
    seen = np.concatenate([best[:, : SEEN // 2], rng.integers(0, ITEMS, (USERS, SEEN // 2))], axis=1)
    return World(best, seen, rng.integers(0, BUCKETS, ITEMS))


def _bundle(folder: Path, world: World) -> Path:
    metadata, interactions = folder / "exclusions-items.csv", folder / "exclusions-seen.csv"
    with metadata.open("w", newline="") as file:
        csv.writer(file).writerows([["item_id", "bucket"], *enumerate(world.bucket.tolist())])
    pairs = ((user, item) for user, rows in enumerate(world.seen) for item in rows.tolist())
    with interactions.open("w", newline="") as file:
        csv.writer(file).writerows([["user_id", "item_id"], *pairs])
    users, items = write_tables(folder, "clustered", ITEMS, USERS, DIM)
    return bundle_of(users, items, "--items", str(metadata), "--interactions", str(interactions))
