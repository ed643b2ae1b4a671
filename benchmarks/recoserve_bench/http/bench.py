"""`recoserve bench http`: servers side by side under the same load, in interleaved rounds."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recoserve_bench import report
from recoserve_bench.bundle import bundle_of
from recoserve_bench.errors import SystemFailed
from recoserve_bench.http import load
from recoserve_bench.http.server import SCRIPTS, V2_PATH, Running, Server, list_body, list_items, tensor_body, tensor_items
from recoserve_bench.report import Figure, out, ratio
from recoserve_bench.tables import write_tables

OURS, LIMIT = "recoserve", "echo"
WARM_SECONDS = 0.5
USERS = 10_000
PREPARED = 1 << 14  # requests, with user ids at random
OPEN_CONNECTIONS = 128


def script(name: str) -> tuple[str, ...]:
    """The command of a server in `servers/`."""
    return (str(SCRIPTS / f"{name}.py"), "{port}", "{bundle}")


SERVE = ("-m", "recoserve", "serve", "{bundle}", "--port", "{port}", "--log-format", "json", "--drain-seconds", "0")
SERVERS = [
    Server(name=LIMIT, command=script("echo")),
    Server(name=OURS, command=SERVE),
    Server(name="recoserve-unbatched", command=script("unbatched")),
    Server(name="naive", command=script("naive")),
    Server(name="litserve", peer="litserve", command=script("litserve_app"), sleeps_when_idle=False),
    Server(name="bentoml", peer="bentoml", command=script("bentoml_app"), body=list_body, items=list_items),
    Server(name="mlserver", peer="mlserver", command=script("mlserver_app"), path=V2_PATH, body=tensor_body, items=tensor_items),
    Server(name="ray", peer="ray", command=script("ray_app"), sleeps_when_idle=False),
]


@dataclass(frozen=True)
class Workload:
    """The load; `open_load` is the share of our capacity at which the open loop sends requests, 0 for no open loop."""

    items: int = 10_000
    dim: int = 64
    connections: Sequence[int] = (1, 32)
    seconds: float = 5.0
    rounds: int = 3
    open_load: float = 0.5
    open_seconds: float = 60.0


def compare(servers: Sequence[Server], workload: Workload, folder: Path, peers: Path) -> list[Figure]:
    """Load each server in turn, `rounds` times. Servers that use no core while they are idle run all the time."""
    bundle = bundle_of(*write_tables(folder, "clustered", workload.items, USERS, workload.dim))
    with ExitStack() as stack:
        resident = {
            server.name: stack.enter_context(Running(server, peers, bundle)) for server in servers if server.sleeps_when_idle
        }
        _check_items(list(resident.values()))
        loads: dict[tuple[str, int], list[load.Load]] = defaultdict(list)
        for _ in range(workload.rounds):
            for server in servers:
                with ExitStack() as turn:
                    running = resident.get(server.name) or turn.enter_context(Running(server, peers, bundle))
                    for connections in workload.connections:
                        loads[server.name, connections].append(_closed_loop(running, connections, workload.seconds))
        figures = [_figure(name, "closed_loop", runs, workload, connections) for (name, connections), runs in loads.items()]
        if workload.open_load:
            rate = workload.open_load * _capacity(figures, max(workload.connections))
            figures += [_open_loop(resident[name], rate, workload) for name in (OURS, LIMIT)]
    return figures


def _capacity(figures: Sequence[Figure], connections: int) -> float:
    """Our requests per second in the closed loop over so many connections."""
    (capacity,) = [figure["per_second"] for figure in figures if (figure["system"], figure["connections"]) == (OURS, connections)]
    return float(capacity)


def _open_loop(running: Running, rate: float, workload: Workload) -> Figure:
    connections = max(1, min(OPEN_CONNECTIONS, int(rate)))  # so few that each is used once a second or more
    arrivals = load.poisson(rate, workload.open_seconds)
    run = load.open_loop(running.port, requests(running.server), connections, arrivals)
    return _figure(running.server.name, "open_loop", [run], workload, connections, rate=rate)


def requests(server: Server) -> Iterator[bytes]:
    """Requests of random users, prepared once and repeated without end; the same users for every server."""
    users = np.random.default_rng(0).integers(0, USERS, PREPARED)
    return itertools.cycle([server.request(int(user)) for user in users])


def _check_items(running: Sequence[Running]) -> None:
    """Raise SystemFailed unless every server answers one user with the same ten items, the echo aside."""
    items = {server.server.name: server.server.items(server.response(7)) for server in running}
    for name, ids in items.items():
        if len(ids) != 10 or (name != LIMIT and ids != items[OURS]):
            raise SystemFailed(f"{name} answers user 7 with items {ids}, recoserve with {items[OURS]}")


def _closed_loop(running: Running, connections: int, seconds: float) -> load.Load:
    messages = requests(running.server)
    load.closed_loop(running.port, messages, connections, min(WARM_SECONDS, seconds))
    return load.closed_loop(running.port, messages, connections, seconds)


def _figure(name: str, operation: str, runs: Sequence[load.Load], workload: Workload, connections: int, **fields: float) -> Figure:
    latencies = [latency for run in runs for latency in run.latencies]
    per_second = len(latencies) / sum(run.seconds for run in runs)
    failures = sum(run.failures for run in runs)
    about = {"items": workload.items, "dim": workload.dim, "connections": connections, "recall": None, "failures": failures}
    return report.figure(name, operation, latencies, per_second, **about, **fields)


def print_figures(figures: Sequence[Figure]) -> None:
    """Print a row for each system and number of connections; requests per second beside the limit's and ours."""
    closed = [figure for figure in figures if figure["operation"] == "closed_loop"]
    rates = {(figure["system"], figure["connections"]): figure["per_second"] for figure in closed}
    rows = [
        _table_row(figure, rates) for figure in sorted(figures, key=lambda figure: (figure["operation"], figure["connections"]))
    ]
    columns = ["system", "connections", "requests/s", "p50 ms", "p99 ms", "p99/p50", "of echo", "recoserve to it", "not 200"]
    report.print_table(columns, rows)
    out.print("Each server writes its usual log, to memory. recoserve: --log-format json, one line a request.")


def _table_row(figure: Figure, rates: Mapping[tuple[str, int], float]) -> list[str]:
    rate, connections = figure["per_second"], figure["connections"]
    is_closed = figure["operation"] == "closed_loop"
    return [
        figure["system"],
        str(connections) if is_closed else f"open, {figure['rate']:,.0f}/s",
        f"{rate:,.0f}",
        f"{figure['median_ms']:.3f}",
        f"{figure['p99_ms']:.3f}",
        f"{figure['p99_ms'] / figure['median_ms']:.1f}",
        ratio(rate, rates.get((LIMIT, connections))) if is_closed else "",
        ratio(rates.get((OURS, connections), 0.0), rate) if is_closed else "",
        str(figure["failures"]),
    ]
