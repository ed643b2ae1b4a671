"""`recoserve bench soak`: whether memory grows. Requests of every kind to the real service, its memory sampled all along."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain, cycle
from pathlib import Path
from typing import Any

import numpy as np

from recoserve.bundle.arrays import Float64Array
from recoserve_bench import report
from recoserve_bench.bundle import bundle_of
from recoserve_bench.http import load
from recoserve_bench.http.bench import OURS, SERVERS
from recoserve_bench.http.server import Running, http_request
from recoserve_bench.peers.install import ROOT
from recoserve_bench.report import Figure, out
from recoserve_bench.tables import write_tables

USERS, ITEMS, DIM = 10_000, 20_000, 64
PREPARED = 1 << 13
SAMPLES = 100  # of memory, while it counts
# As many requests again come before, over twice the connections: pools, which don't shrink, are as large then as they can get.
WARM_SHARE, WARM_CONNECTIONS = 0.5, 2
BLOCKS, T_18 = 20, 2.101  # neighbouring samples are alike; means of 20 blocks, and Student's t for the slope through them


def soak(folder: Path, requests: int, connections: int) -> Figure:
    """Send requests to warm up, then `requests` more; the figure follows resident memory over the latter, MiB.

    The slope is in KiB per 1,000 requests; `slope_95` is its 95 % interval.
    """
    server = next(server for server in SERVERS if server.name == OURS)
    messages = cycle(mixture(np.random.default_rng(0)))
    statuses: Counter[int] = Counter()
    requests_a_sample = -(-requests // SAMPLES)
    with Running(server, ROOT, _bundle(folder)) as running:
        samples = []
        warm_samples = int(SAMPLES * WARM_SHARE)
        for open_connections in [connections * WARM_CONNECTIONS] * warm_samples + [connections] * SAMPLES:
            run = load.closed_loop(running.port, messages, open_connections, float("inf"), requests_a_sample)
            statuses.update(run.statuses)
            samples.append(memory_mib(running.pid))
    sent = np.arange(SAMPLES) * requests_a_sample
    figure: Figure = {"system": OURS, "operation": "soak", "requests": statuses.total(), "connections": connections}
    figure["statuses"] = dict(sorted(statuses.items()))
    for name, series in zip(("resident", "anonymous"), np.transpose(samples), strict=True):
        counted = series[-SAMPLES:]
        slope, half = slope_of(sent / 1000, counted * 1024)
        figure[name] = {"slope": slope, "slope_95": [slope - half, slope + half], "first_mib": counted[0], "last_mib": counted[-1]}
        figure[name]["mib"] = series.tolist()
    return figure


def slope_of(x: Float64Array, y: Float64Array) -> tuple[float, float]:
    """The least-squares slope through the means of `BLOCKS` blocks, and half the width of its 95 % interval."""
    x, y = (np.array([block.mean() for block in np.array_split(series, BLOCKS)]) for series in (x, y))
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    residuals = y - y.mean() - slope * centred
    return slope, float(T_18 * np.sqrt(residuals @ residuals / (BLOCKS - 2) / (centred @ centred)))


def mixture(rng: np.random.Generator) -> list[bytes]:
    """Requests of every kind: small and large k, lists, the user's seen items, metadata, and what must be refused."""
    return [http_request("/recommend", body) for body in chain.from_iterable(_bodies(rng) for _ in range(PREPARED // 8))]


def _bodies(rng: np.random.Generator) -> Iterator[bytes]:
    def ids(most: int) -> list[int]:
        drawn: list[int] = rng.integers(0, ITEMS, rng.integers(1, most)).tolist()
        return drawn

    def body(**fields: Any) -> bytes:
        return json.dumps({"user_id": int(rng.integers(0, USERS)), "k": int(10 ** rng.uniform(0, 3)), **fields}).encode()

    refused = [
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
    yield refused[rng.integers(len(refused))]


def _bundle(folder: Path) -> Path:
    """A bundle with metadata for every item, and twenty items seen by each user."""
    users, items = write_tables(folder, "clustered", ITEMS, USERS, DIM)
    rng = np.random.default_rng(1)
    metadata, interactions = folder / "soak-items.csv", folder / "soak-seen.csv"
    lines = (f"{row},Item number {row},{row % 17}|{row % 5}\n" for row in range(ITEMS))
    metadata.write_text("item_id,title,genres\n" + "".join(lines))
    pairs = (f"{user},{item}\n" for user, seen in enumerate(rng.integers(0, ITEMS, (USERS, 20))) for item in seen)
    interactions.write_text("user_id,item_id\n" + "".join(pairs))
    return bundle_of(users, items, "--items", str(metadata), "--interactions", str(interactions))


def memory_mib(pid: int | str) -> tuple[float, float]:
    """Resident memory of a process (or of `self`), and as much of it as no file backs, MiB (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {name: value for name, _, value in (line.partition(":") for line in lines)}
    resident, anonymous = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))
    return resident, anonymous


def print_figure(figure: Figure) -> None:
    """Print how many responses had which status, and whether a flat line fits the memory."""
    statuses = ", ".join(f"{count:,} times {status}" for status, count in figure["statuses"].items())
    out.print(f"{figure['requests']:,} requests over {figure['connections']} connections: {statuses}")
    rows = []
    for name in ("resident", "anonymous"):
        memory = figure[name]
        low, high = memory["slope_95"]
        inside = "yes" if low <= 0 <= high else "no"
        ends = [f"{memory['first_mib']:.1f}", f"{memory['last_mib']:.1f}"]
        rows.append([name, *ends, f"{memory['slope']:+.3f}", f"{low:+.3f} … {high:+.3f}", inside])
    columns = ["memory", "MiB once warm", "MiB at the end", "KiB per 1,000 requests", "95 % interval", "0 inside"]
    report.print_table(columns, rows)
