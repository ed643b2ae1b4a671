"""`recoserve bench http`: servers side by side under the same load, in interleaved rounds."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recoserve_bench import figures
from recoserve_bench.bundle import bundle_of
from recoserve_bench.errors import SystemFailed
from recoserve_bench.figures import Figure, out, ratio
from recoserve_bench.http import load
from recoserve_bench.http.server import SCRIPTS, V2_PATH, Running, Server, listed, listed_rows, tensor_rows, tensors
from recoserve_bench.tables import write_tables

OURS, LIMIT = "recoserve", "echo"
WARM_SECONDS = 0.5
USERS = 10_000
PREPARED = 1 << 14  # requests, with user ids at random
OPEN_CONNECTIONS = 128


def script(name: str) -> tuple[str, ...]:
    return (str(SCRIPTS / f"{name}.py"), "{port}", "{bundle}")


SERVE = ("-m", "recoserve", "serve", "{bundle}", "--port", "{port}", "--log-format", "json", "--drain-seconds", "0")
SERVERS = [
    Server(name=LIMIT, command=script("echo")),
    Server(name=OURS, command=SERVE),
    Server(name="recoserve-unbatched", command=script("unbatched")),
    Server(name="naive", command=script("naive")),
    Server(name="litserve", peer="litserve", command=script("litserve_app"), idle=False),
    Server(name="bentoml", peer="bentoml", command=script("bentoml_app"), body=listed, rows=listed_rows),
    Server(name="mlserver", peer="mlserver", command=script("mlserver_app"), path=V2_PATH, body=tensors, rows=tensor_rows),
    Server(name="ray", peer="ray", command=script("ray_app"), idle=False),
]


@dataclass(frozen=True)
class Workload:
    """What is asked; `open_load` is the share of the capacity at which the open loop asks, 0 for none."""

    items: int = 10_000
    dim: int = 64
    connections: Sequence[int] = (1, 32)
    seconds: float = 5.0
    rounds: int = 3
    open_load: float = 0.5
    open_seconds: float = 60.0


def compare(servers: Sequence[Server], workload: Workload, folder: Path, peers: Path) -> list[Figure]:
    """Load each server in its turn; those that can stand by idly stay up all the time."""
    bundle = bundle_of(*write_tables(folder, "clustered", workload.items, USERS, workload.dim))
    with ExitStack() as stack:
        up = {one.name: stack.enter_context(Running(one, peers, bundle)) for one in servers if one.idle}
        _check_answers(list(up.values()))
        loads: dict[tuple[str, int], list[load.Load]] = {}
        for _ in range(workload.rounds):
            for server in servers:
                with ExitStack() as turn:
                    running = up.get(server.name) or turn.enter_context(Running(server, peers, bundle))
                    for connections in workload.connections:
                        done = _turn(running, connections, workload.seconds)
                        loads.setdefault((server.name, connections), []).append(done)
        found = [_figure(name, "closed_loop", done, workload, connections) for (name, connections), done in loads.items()]
        if workload.open_load:
            busiest = max(workload.connections)
            (capacity,) = [one["per_second"] for one in found if one["system"] == OURS and one["connections"] == busiest]
            rate = workload.open_load * capacity
            open_connections = max(1, min(OPEN_CONNECTIONS, int(rate)))  # each is used once a second or more
            for name in (OURS, LIMIT):
                done = load.open_loop(
                    up[name].port, requests(up[name].server), open_connections, load.poisson(rate, workload.open_seconds)
                )
                found.append(_figure(name, "open_loop", [done], workload, open_connections, rate=rate))
    return found


def requests(server: Server) -> Iterator[bytes]:
    """Prepared requests of users at random, the same for everybody, without end."""
    users = np.random.default_rng(0).integers(0, USERS, PREPARED)
    return itertools.cycle([server.request(int(user)) for user in users])


def _check_answers(running: Sequence[Running]) -> None:
    """Everybody answers one user with the same ten items, the echo aside."""
    ours = next(one for one in running if one.server.name == OURS)
    expected = ours.server.rows(ours.answer(7))
    for one in running:
        found = one.server.rows(one.answer(7))
        if len(found) != 10 or (one.server.name != LIMIT and found != expected):
            raise SystemFailed(f"{one.server.name} answers user 7 with items {found}, recoserve with {expected}")


def _turn(running: Running, connections: int, seconds: float) -> load.Load:
    asked = requests(running.server)
    load.closed_loop(running.port, asked, connections, min(WARM_SECONDS, seconds))
    return load.closed_loop(running.port, asked, connections, seconds)


def _figure(name: str, operation: str, loads: Sequence[load.Load], workload: Workload, connections: int, **rest: float) -> Figure:
    latencies = [latency for one in loads for latency in one.latencies]
    per_second = len(latencies) / sum(one.seconds for one in loads)
    failures = sum(one.failures for one in loads)
    place = {"items": workload.items, "dim": workload.dim, "connections": connections, "recall": None, "failures": failures}
    return figures.figure(name, operation, latencies, per_second, **place, **rest)


def print_figures(found: Sequence[Figure]) -> None:
    """A row for each system and number of connections; requests per second beside the limit's and ours."""
    rates = {(one["system"], one["connections"]): one["per_second"] for one in found if one["operation"] == "closed_loop"}
    rows = []
    for one in sorted(found, key=lambda one: (one["operation"], one["connections"])):
        rate, connections = one["per_second"], one["connections"]
        closed = one["operation"] == "closed_loop"
        rows.append(
            [
                one["system"],
                str(connections) if closed else f"open, {one['rate']:,.0f}/s",
                f"{rate:,.0f}",
                f"{one['median_ms']:.3f}",
                f"{one['p99_ms']:.3f}",
                f"{one['p99_ms'] / one['median_ms']:.1f}",
                ratio(rate, rates.get((LIMIT, connections))) if closed else "",
                ratio(rates.get((OURS, connections), 0.0), rate) if closed else "",
                str(one["failures"]),
            ]
        )
    columns = ["system", "connections", "requests/s", "p50 ms", "p99 ms", "p99/p50", "of echo", "recoserve to it", "not 200"]
    figures.print_table(columns, rows)
    out.print("Each server writes its usual log, to memory. recoserve: --log-format json, one line a request.")
