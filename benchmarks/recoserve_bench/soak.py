"""`recoserve bench soak`: does memory grow? Requests of every kind against the real service, its memory sampled all along."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain, cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve_bench import figures
from recoserve_bench.bundle import bundle_of
from recoserve_bench.figures import out
from recoserve_bench.http import load
from recoserve_bench.http.bench import OURS, SERVERS
from recoserve_bench.http.server import Running, http_request
from recoserve_bench.peers.install import ROOT
from recoserve_bench.tables import write_tables

USERS, ITEMS, DIM = 10_000, 20_000, 64
PREPARED = 1 << 13
SAMPLES = 100  # of memory, while it counts
# As many requests again come before, over twice the connections: pools, which don't shrink, are as large then as they can get.
WARM_SHARE, WARM_CONNECTIONS = 0.5, 2
BLOCKS, T_18 = 20, 2.101  # neighbouring samples are alike; means of 20 blocks, and Student's t for the slope through them


def soak(folder: Path, requests: int, connections: int) -> dict[str, Any]:
    """Send requests to warm up, and then `requests` more; over the latter follow resident memory, MiB.

    The slope is in KiB per 1,000 requests, `slope_95` its interval.
    """
    server = next(one for one in SERVERS if one.name == OURS)
    bodies = cycle(mixture(np.random.default_rng(0)))
    statuses: Counter[int] = Counter()
    each = -(-requests // SAMPLES)
    with Running(server, ROOT, _bundle(folder)) as running:
        samples = []
        warm = int(SAMPLES * WARM_SHARE)
        for at in [connections * WARM_CONNECTIONS] * warm + [connections] * SAMPLES:
            done = load.closed_loop(running.port, bodies, at, float("inf"), each)
            statuses.update(done.statuses)
            samples.append(memory_mib(running.pid))
    sent = np.arange(SAMPLES) * each
    result: dict[str, Any] = {"system": OURS, "operation": "soak", "requests": statuses.total(), "connections": connections}
    result["statuses"] = dict(sorted(statuses.items()))
    for name, series in zip(("resident", "anonymous"), np.transpose(samples), strict=True):
        counted = series[-SAMPLES:]
        slope, half = slope_of(sent / 1000, counted * 1024)
        result[name] = {"slope": slope, "slope_95": [slope - half, slope + half], "first_mib": counted[0], "last_mib": counted[-1]}
        result[name]["mib"] = series.tolist()
    return result


def slope_of(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """The least-squares slope through the means of `BLOCKS` blocks, and half its 95 % interval."""
    x, y = (np.array([block.mean() for block in np.array_split(series, BLOCKS)]) for series in (x, y))
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    rest = y - y.mean() - slope * centred
    return slope, float(T_18 * np.sqrt(rest @ rest / (BLOCKS - 2) / (centred @ centred)))


def mixture(rng: np.random.Generator) -> list[bytes]:
    """Requests of every kind: small and large k, lists, the user's own items, metadata, and what must be refused."""
    return [http_request("/recommend", body) for body in chain.from_iterable(_bodies(rng) for _ in range(PREPARED // 8))]


def _bodies(rng: np.random.Generator) -> Iterator[bytes]:
    def ids(most: int) -> list[int]:
        found: list[int] = rng.integers(0, ITEMS, rng.integers(1, most)).tolist()
        return found

    def body(**fields: Any) -> bytes:
        return json.dumps({"user_id": int(rng.integers(0, USERS)), "k": int(10 ** rng.uniform(0, 3)), **fields}).encode()

    bad = [
        b'{"user_id": 1, "user_id": 2}',
        b"[" * 1000,
        body(k=0),
        body(user_id=USERS + 1),
        body(user_id="1"),
        body(unknown=True),
        body(exclude_item_ids=[-1] * 500),
    ]
    yield body(k=10)
    yield body()
    yield body(exclude_item_ids=ids(1000))
    yield body(candidate_item_ids=ids(2000))
    yield body(exclude_seen=True)
    yield body(include=["metadata"])
    yield body(exclude_seen=True, include=["metadata"], exclude_item_ids=ids(100))
    yield bad[rng.integers(len(bad))]


def _bundle(folder: Path) -> Path:
    """With metadata for every item, and twenty items seen by each user."""
    users, items = write_tables(folder, "clustered", ITEMS, USERS, DIM)
    rng = np.random.default_rng(1)
    catalogue, seen = folder / "soak-items.csv", folder / "soak-seen.csv"
    catalogue.write_text(
        "item_id,title,genres\n" + "".join(f"{row},Item number {row},{row % 17}|{row % 5}\n" for row in range(ITEMS))
    )
    pairs = "".join(f"{user},{item}\n" for user, row in enumerate(rng.integers(0, ITEMS, (USERS, 20))) for item in row)
    seen.write_text("user_id,item_id\n" + pairs)
    return bundle_of(users, items, "--items", str(catalogue), "--interactions", str(seen))


def memory_mib(pid: int | str) -> tuple[float, float]:
    """Resident memory of a process (or of `self`), and the part of it that no file backs, MiB (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {
        name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines) if name in ("VmRSS", "RssAnon")
    }
    return kib["VmRSS"] / 1024, kib["RssAnon"] / 1024


def print_result(result: dict[str, Any]) -> None:
    """What was answered, and whether a flat line fits what memory did."""
    answered = ", ".join(f"{count:,} times {status}" for status, count in result["statuses"].items())
    out.print(f"{result['requests']:,} requests over {result['connections']} connections: {answered}")
    rows = []
    for name in ("resident", "anonymous"):
        found = result[name]
        low, high = found["slope_95"]
        inside = "yes" if low <= 0 <= high else "no"
        ends = [f"{found['first_mib']:.1f}", f"{found['last_mib']:.1f}"]
        rows.append([name, *ends, f"{found['slope']:+.3f}", f"{low:+.3f} … {high:+.3f}", inside])
    columns = ["memory", "MiB once warm", "MiB at the end", "KiB per 1,000 requests", "95 % interval", "0 inside"]
    figures.print_table(columns, rows)
