"""`recoserve bench exclusions`: is an item that may not be in an answer ever there? Random requests over HTTP, every item checked.

Half of what is excluded is drawn from the user's own best items, which would stand in the answer otherwise.
"""

import csv
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from recoserve_bench import figures
from recoserve_bench.bundle import bundle_of
from recoserve_bench.figures import out
from recoserve_bench.http.bench import OURS, SERVERS
from recoserve_bench.http.load import complete
from recoserve_bench.http.server import Running, http_request
from recoserve_bench.peers.install import ROOT
from recoserve_bench.tables import write_tables

USERS, ITEMS, DIM = 1000, 40_000, 32  # enough to be screened
SEEN, BEST = 60, 200
BUCKETS = 100
CALLERS = 4
MOST_SHOWN = 5


@dataclass(frozen=True)
class World:
    """What is known of every user and item: each user's best and seen items int64 [U, n], each item's bucket int64 [N]."""

    best: NDArray[np.int64]
    seen: NDArray[np.int64]
    bucket: NDArray[np.int64]


@dataclass
class Tally:
    """What came of one caller's requests; `found` holds those with an item that may not be there."""

    statuses: Counter[int]
    endpoints: Counter[str]
    items: int
    found: list[dict[str, Any]]


def run(folder: Path, requests: int, seed: int) -> dict[str, Any]:
    """Send `requests` from several callers at once to the real service; the result counts requests, items and faults."""
    users, items = (np.load(path) for path in write_tables(folder, "clustered", ITEMS, USERS, DIM))
    world = _world(users, items)
    server = next(one for one in SERVERS if one.name == OURS)
    share = -(-requests // CALLERS)
    with Running(server, ROOT, _bundle(folder, world)) as running, ProcessPoolExecutor(CALLERS) as callers:
        jobs = [callers.submit(_call, running.port, world, share, (seed, number)) for number in range(CALLERS)]
        tallies = [job.result() for job in jobs]
    endpoints: Counter[str] = sum((one.endpoints for one in tallies), Counter())
    statuses: Counter[int] = sum((one.statuses for one in tallies), Counter())
    return {
        "system": OURS,
        "operation": "exclusions",
        "requests": endpoints.total(),
        "endpoints": dict(endpoints),
        "statuses": dict(statuses),
        "items": sum(one.items for one in tallies),
        "wrong": sum(len(one.found) for one in tallies),
        "shown": [fault for one in tallies for fault in one.found][:MOST_SHOWN],
    }


def print_result(result: dict[str, Any]) -> None:
    """How many were asked, and what was found."""
    rows = [[name, f"{count:,}"] for name, count in sorted(result["endpoints"].items())]
    figures.print_table(["endpoint", "requests"], rows)
    answered = ", ".join(f"{count:,} times {status}" for status, count in sorted(result["statuses"].items()))
    out.print(f"{result['requests']:,} requests ({answered}), {result['items']:,} items in their answers:")
    out.print(f"{result['wrong']} answers with an item that may not be there", style="bold")
    for fault in result["shown"]:
        out.print(str(fault), markup=False)


def _call(port: int, world: World, requests: int, seed: tuple[int, int]) -> Tally:
    """One caller, one connection, one request at a time."""
    tally = Tally(Counter(), Counter(), 0, [])
    with socket.create_connection(("127.0.0.1", port)) as line:
        for path, body, allowed in islice(_requests(world, np.random.default_rng(seed)), requests):
            line.sendall(http_request(path, orjson.dumps(body)))
            status, answer = _read(line)
            tally.statuses[status] += 1
            tally.endpoints[path] += 1
            for items in _lists(answer):
                tally.items += len(items)
                if faulty(items, allowed, body["k"]):
                    tally.found.append({"path": path, "body": body, "items": items})
    return tally


def faulty(items: list[int], allowed: NDArray[np.bool_], k: int) -> bool:
    """Whether a list holds an item that may not be there, one twice, or more than k."""
    return not allowed[items].all() or len(set(items)) < len(items) or len(items) > k


def _requests(world: World, rng: np.random.Generator) -> Iterator[tuple[str, dict[str, Any], NDArray[np.bool_]]]:
    """Path, body, and which items may be in the answer, bool [N]; without end."""
    while True:
        user = int(rng.integers(USERS))
        body: dict[str, Any] = {"k": int(10 ** rng.uniform(0, 2))}
        allowed = np.ones(ITEMS, np.bool_)
        if rng.random() < 0.8:
            body["exclude_item_ids"] = _drawn(rng, world.best[user], int(10 ** rng.uniform(0, 2.5)))
            allowed[body["exclude_item_ids"]] = False
        if rng.random() < 0.2:
            first = int(rng.integers(BUCKETS))
            body["filter"] = {"bucket": {"gte": first, "lte": first + int(rng.integers(BUCKETS))}}
            allowed &= (world.bucket >= first) & (world.bucket <= body["filter"]["bucket"]["lte"])
        if rng.random() < 0.2:
            body["candidate_item_ids"] = _drawn(rng, world.best[user], 200)
            few = np.zeros(ITEMS, np.bool_)
            few[body["candidate_item_ids"]] = True
            allowed &= few
        path = ENDPOINTS[rng.integers(len(ENDPOINTS))]
        yield path, body | _asker(path, world, rng, user, allowed), allowed


ENDPOINTS = ["/recommend"] * 5 + ["/recommend/batch", "/recommend/history", "/similar/items"]


def _asker(path: str, world: World, rng: np.random.Generator, user: int, allowed: NDArray[np.bool_]) -> dict[str, Any]:
    """Who asks; what that rules out is taken from `allowed`."""
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


def _drawn(rng: np.random.Generator, best: NDArray[np.int64], count: int) -> list[int]:
    """Half from the best, half from all; some of them twice."""
    half = -(-count // 2)
    found: list[int] = np.concatenate([rng.choice(best, half), rng.integers(0, ITEMS, count - half)]).tolist()
    return found


def _read(line: socket.socket) -> tuple[int, Any]:
    received = b""
    while not complete(received):
        more = line.recv(1 << 16)
        if not more:
            raise ConnectionError("the service closed the connection")
        received += more
    return int(received[9:12]), orjson.loads(received[received.index(b"\r\n\r\n") :])


def _lists(answer: dict[str, Any]) -> Iterator[list[int]]:
    """The items of each list of an answer; none of a problem."""
    for part in answer.get("results", [answer] if "items" in answer else []):
        yield [item["item_id"] for item in part["items"]]


def _world(users: NDArray[np.float32], items: NDArray[np.float32]) -> World:
    rng = np.random.default_rng(3)
    best = np.argsort(-(users @ items.T), axis=1)[:, :BEST]
    seen = np.concatenate([best[:, : SEEN // 2], rng.integers(0, ITEMS, (USERS, SEEN // 2))], axis=1)
    return World(best, seen, rng.integers(0, BUCKETS, ITEMS))


def _bundle(folder: Path, world: World) -> Path:
    catalogue, pairs = folder / "exclusions-items.csv", folder / "exclusions-seen.csv"
    with catalogue.open("w", newline="") as file:
        csv.writer(file).writerows([["item_id", "bucket"], *enumerate(world.bucket.tolist())])
    seen = ((user, item) for user, rows in enumerate(world.seen) for item in rows.tolist())
    with pairs.open("w", newline="") as file:
        csv.writer(file).writerows([["user_id", "item_id"], *seen])
    users, items = write_tables(folder, "clustered", ITEMS, USERS, DIM)
    return bundle_of(users, items, "--items", str(catalogue), "--interactions", str(pairs))
