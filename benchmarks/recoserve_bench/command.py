"""`recoserve bench …`: the command line of the benchmarks."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from recoserve_bench.contender import chosen
from recoserve_bench.peers.install import ROOT

bench = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Folder = Annotated[Path | None, typer.Option(help="Keep tables and bundles here; default: a temporary folder.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file as well.")]
Peers = Annotated[Path, typer.Option(help="Where `python -m recoserve_bench.peers.install` has put the peers.")]
Rounds = Annotated[int, typer.Option(min=1, help="How often each system has its turn.")]
Threads = Annotated[int, typer.Option(min=0, help="Threads of each system; 0: as many as there are cores.")]


@bench.callback()
def about() -> None:
    """Measure this product and its peers side by side, on the same data."""


@bench.command()
def retrieval(
    items: Annotated[int, typer.Option(min=1, help="Items in the catalogue.")] = 1 << 20,
    dim: Annotated[int, typer.Option(min=1, help="Dimension of the vectors.")] = 64,
    against: Annotated[str, typer.Option(help="Systems to compare with: onnx, numpy, faiss, scann, usearch.")] = "onnx,numpy",
    batches: Annotated[str, typer.Option(help="Users in one call, several with commas between.")] = "1,16,64",
    k: Annotated[int, typer.Option("-k", min=1, help="Items in an answer.")] = 10,
    users: Annotated[int, typer.Option(min=1, help="Users whose answers are checked in float64.")] = 256,
    table_users: Annotated[int, typer.Option(min=1, help="Users in the table, all of which take turns.")] = 10_000,
    tables: Annotated[Literal["clustered", "random"], typer.Option(help="Like trained ones, or structureless.")] = "clustered",
    retrieval: Annotated[Literal["exact", "plain"], typer.Option(help="How recoserve searches.")] = "exact",
    seconds: Annotated[float, typer.Option(min=0, help="How long each turn lasts.")] = 1.0,
    rounds: Rounds = 5,
    threads: Threads = 0,
    folder: Folder = None,
    peers: Peers = ROOT,
    to: Json = None,
) -> None:
    """Exact top-k over a whole catalogue, without HTTP."""
    from recoserve_bench import figures
    from recoserve_bench.retrieval import bench as task

    workload = task.Workload(
        items, dim, numbers(batches), min(k, items), users, tables, retrieval, seconds, rounds, threads, table_users
    )
    systems, missing = chosen(task.SYSTEMS, {task.OURS}, names(against), peers)
    with kept(folder) as place:
        found = task.compare(systems, workload, place, peers)
    figures.print_heading(f"retrieval: {items:,} items x {dim}, {tables}, k = {k}, {rounds} rounds of {seconds:g} s")
    task.print_figures(found)
    say_left_out(missing)
    figures.write_json(to, found)


@bench.command("http")
def over_http(
    items: Annotated[int, typer.Option(min=10, help="Items in the catalogue.")] = 10_000,
    dim: Annotated[int, typer.Option(min=1, help="Dimension of the vectors.")] = 64,
    against: Annotated[str, typer.Option(help="Servers: recoserve-unbatched, naive, litserve, bentoml, mlserver, ray.")] = "naive",
    connections: Annotated[str, typer.Option(help="Connections at a time, several with commas between.")] = "1,32",
    seconds: Annotated[float, typer.Option(min=0, help="How long each turn lasts.")] = 5.0,
    rounds: Rounds = 3,
    open_loop: Annotated[float, typer.Option(min=0, max=1, help="Share of the capacity for the open loop; 0: none.")] = 0.5,
    open_seconds: Annotated[float, typer.Option(min=1, help="How long the open loop lasts.")] = 60.0,
    folder: Folder = None,
    peers: Peers = ROOT,
    to: Json = None,
) -> None:
    """The same question over HTTP: requests per second and latency, on the same model."""
    from recoserve_bench import figures
    from recoserve_bench.http import bench as task

    workload = task.Workload(items, dim, numbers(connections), seconds, rounds, open_loop, open_seconds)
    servers, missing = chosen(task.SERVERS, {task.OURS, task.LIMIT}, names(against), peers)
    with kept(folder) as place:
        found = task.compare(servers, workload, place, peers.absolute())
    figures.print_heading(f"HTTP: {items:,} items x {dim}, k = 10, {rounds} rounds of {seconds:g} s")
    task.print_figures(found)
    say_left_out(missing)
    figures.write_json(to, found)


@bench.command()
def soak(
    requests: Annotated[int, typer.Option(min=1000, help="Requests to send, after half as many to warm up.")] = 500_000,
    connections: Annotated[int, typer.Option(min=1, help="Connections at a time.")] = 32,
    folder: Folder = None,
    to: Json = None,
) -> None:
    """Whether the service's memory grows: the slope of its resident memory over many requests of every kind."""
    from recoserve_bench import figures
    from recoserve_bench import soak as task

    with kept(folder) as place:
        found = task.soak(place, requests, connections)
    figures.print_heading("soak: every kind of request")
    task.print_result(found)
    figures.write_json(to, [found])


@bench.command()
def growth(
    sizes: Annotated[
        str, typer.Option(help="Items in the catalogue, several with commas between.")
    ] = "10000,100000,1000000,10000000",
    dim: Annotated[int, typer.Option(min=1, help="Dimension of the vectors.")] = 64,
    batches: Annotated[str, typer.Option(help="Users in one call, several with commas between.")] = "1,64",
    seconds: Annotated[float, typer.Option(min=0, help="How long each turn lasts.")] = 1.0,
    rounds: Rounds = 3,
    threads: Threads = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw the figures as an SVG; needs matplotlib.")] = None,
    folder: Folder = None,
    peers: Peers = ROOT,
    to: Json = None,
) -> None:
    """How time grows with the catalogue: this product, the plain graph and FAISS's flat index."""
    from recoserve_bench import figures
    from recoserve_bench import growth as task
    from recoserve_bench.retrieval import bench as retrieval

    counts = numbers(sizes)
    systems, missing = chosen(retrieval.SYSTEMS, {retrieval.OURS}, task.AGAINST, peers)
    workload = retrieval.Workload(counts[0], dim, numbers(batches), seconds=seconds, rounds=rounds, threads=threads)
    with kept(folder) as place:
        found = task.grow(counts, workload, systems, place, peers)
    figures.print_heading(f"growth: dimension {dim}, k = {workload.k}, {rounds} rounds of {seconds:g} s")
    for count in counts:
        figures.out.print(f"\n{count:,} items")
        retrieval.print_figures([one for one in found if one["items"] == count])
    say_left_out(missing)
    figures.write_json(to, found)
    if plot:
        task.plot(found, plot)


@bench.command()
def scorers(
    models: Annotated[str, typer.Option(help="Which of a, b, c, d, d-wide, with commas between.")] = "a,b,c,d",
    items: Annotated[str, typer.Option(help="Items in the catalogue, several with commas between.")] = "20000,200000",
    batches: Annotated[str, typer.Option(help="Users in one call, several with commas between.")] = "1,16",
    k: Annotated[int, typer.Option("-k", min=1, help="Items in an answer.")] = 10,
    seconds: Annotated[float, typer.Option(min=0, help="How long each turn lasts; one call at least.")] = 1.0,
    rounds: Rounds = 3,
    threads: Threads = 0,
    memory: Annotated[bool, typer.Option(help="Measure the memory of an answer over a million items, too.")] = True,
    folder: Folder = None,
    to: Json = None,
) -> None:
    """Models that are no dot product: ranked by this product, and by running them on tiled inputs."""
    from recoserve_bench import figures, machine
    from recoserve_bench.scorers import bench as task
    from recoserve_bench.scorers.models import SCORERS

    if unknown := [name for name in names(models) if name not in SCORERS]:
        raise typer.BadParameter(f"{', '.join(unknown)}: no such model; there are {', '.join(SCORERS)}", param_hint="--models")
    workload = task.Workload(
        [SCORERS[name] for name in names(models)], numbers(items), numbers(batches), k, seconds, rounds, threads or machine.cores()
    )
    with kept(folder) as place:
        found = task.compare(workload, place)
        if memory:
            found.append(task.memory(SCORERS[task.MEMORY_MODEL], place))
    figures.print_heading(f"scorers: k = {k}, {rounds} rounds of {seconds:g} s")
    task.print_figures(found)
    figures.write_json(to, found)


@bench.command()
def options(
    items: Annotated[int, typer.Option(min=10_000, help="Items in the catalogue.")] = 1 << 20,
    dim: Annotated[int, typer.Option(min=1, help="Dimension of the vectors.")] = 64,
    users: Annotated[int, typer.Option(min=1, help="Users who ask, each with 2,000 seen items.")] = 32,
    rounds: Rounds = 5,
    threads: Threads = 0,
    folder: Folder = None,
    to: Json = None,
) -> None:
    """What filters, exclusions, seen items and diversity cost, each beside the same request without."""
    from recoserve_bench import figures
    from recoserve_bench import options as task

    with kept(folder) as place:
        found = task.measure(place, items, dim, users, rounds, threads)
    figures.print_heading(f"options: {items:,} items x {dim}, k = 10, {users} users, {rounds} rounds, one request at a time")
    task.print_figures(found)
    figures.write_json(to, found)


@bench.command()
def exclusions(
    requests: Annotated[int, typer.Option(min=1, help="Requests to send.")] = 1_000_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the random requests.")] = 0,
    folder: Folder = None,
    to: Json = None,
) -> None:
    """Whether an item that may not be in an answer ever is: random requests over HTTP, every item checked."""
    from recoserve_bench import exclusions as task
    from recoserve_bench import figures

    with kept(folder) as place:
        found = task.run(place, requests, seed)
    figures.print_heading("exclusions: random requests of every kind")
    task.print_result(found)
    figures.write_json(to, [found])
    raise typer.Exit(1 if found["wrong"] or set(found["statuses"]) != {200} else 0)


def names(text: str) -> list[str]:
    """Words with commas between them."""
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(text: str) -> list[int]:
    """Numbers with commas between them, ascending; raises BadParameter for anything else."""
    try:
        found = sorted({int(word) for word in names(text)})
    except ValueError:
        found = []
    if not found or found[0] < 1:
        raise typer.BadParameter(f"{text!r} is not a list of numbers above 0, such as 1,16,64")
    return found


@contextmanager
def kept(folder: Path | None) -> Iterator[Path]:
    """The folder, or a temporary one in its place."""
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="recoserve-bench-") as temporary:
        yield Path(temporary)


def say_left_out(missing: list[str]) -> None:
    """Name the peers that aren't installed."""
    for name in missing:
        typer.echo(f"left out, not installed: {name} (python -m recoserve_bench.peers.install)")
