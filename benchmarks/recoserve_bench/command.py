"""`recoserve bench …`: the command line of the benchmarks.

Each command imports what it measures only when it runs, so that `recoserve bench --help` waits for nothing.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from recoserve_bench.contender import select
from recoserve_bench.peers.install import ROOT

bench = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Folder = Annotated[Path | None, typer.Option(help="Keep tables and bundles here; default: a temporary folder.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file as well.")]
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
    k: Annotated[int, typer.Option("-k", min=1, help="Items for each user.")] = 10,
    users: Annotated[int, typer.Option(min=1, help="Users whose items are checked in float64.")] = 256,
    table_users: Annotated[int, typer.Option(min=1, help="Users in the table; calls go round all of them.")] = 10_000,
    tables: Annotated[Literal["clustered", "random"], typer.Option(help="Like trained ones, or structureless.")] = "clustered",
    retrieval: Annotated[Literal["exact", "plain"], typer.Option(help="How recoserve searches.")] = "exact",
    seconds: Annotated[float, typer.Option(min=0, help="How long each turn lasts.")] = 1.0,
    rounds: Rounds = 5,
    threads: Threads = 0,
    folder: Folder = None,
    peers: Peers = ROOT,
    json_file: JsonFile = None,
) -> None:
    """Measure exact top-k over all items, without HTTP."""
    from recoserve_bench import report
    from recoserve_bench.retrieval import bench as task

    workload = task.Workload(
        items, dim, parse_numbers(batches), min(k, items), users, tables, retrieval, seconds, rounds, threads, table_users
    )
    systems, missing = select(task.SYSTEMS, {task.OURS}, parse_names(against), peers)
    with working_folder(folder) as workspace:
        figures = task.compare(systems, workload, workspace, peers)
    report.print_heading(f"retrieval: {items:,} items x {dim}, {tables}, k = {k}, {rounds} rounds of {seconds:g} s")
    task.print_figures(figures)
    print_missing(missing)
    report.write_json(json_file, figures)


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
    json_file: JsonFile = None,
) -> None:
    """Measure requests per second and latency over HTTP, of servers with the same model."""
    from recoserve_bench import report
    from recoserve_bench.http import bench as task

    workload = task.Workload(items, dim, parse_numbers(connections), seconds, rounds, open_loop, open_seconds)
    servers, missing = select(task.SERVERS, {task.OURS, task.LIMIT}, parse_names(against), peers)
    with working_folder(folder) as workspace:
        figures = task.compare(servers, workload, workspace, peers.absolute())
    report.print_heading(f"HTTP: {items:,} items x {dim}, k = 10, {rounds} rounds of {seconds:g} s")
    task.print_figures(figures)
    print_missing(missing)
    report.write_json(json_file, figures)


@bench.command()
def soak(
    requests: Annotated[int, typer.Option(min=1000, help="Requests to send, after half as many to warm up.")] = 500_000,
    connections: Annotated[int, typer.Option(min=1, help="Connections at a time.")] = 32,
    folder: Folder = None,
    json_file: JsonFile = None,
) -> None:
    """Measure whether the service's memory grows over many requests of every kind: the slope of its resident memory."""
    from recoserve_bench import report
    from recoserve_bench import soak as task

    with working_folder(folder) as workspace:
        figure = task.soak(workspace, requests, connections)
    report.print_heading("soak: every kind of request")
    task.print_figure(figure)
    report.write_json(json_file, [figure])


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
    json_file: JsonFile = None,
) -> None:
    """Measure how time grows with the number of items: this product, the plain graph and FAISS's flat index."""
    from recoserve_bench import growth as task
    from recoserve_bench import report
    from recoserve_bench.retrieval import bench as retrieval

    counts = parse_numbers(sizes)
    systems, missing = select(retrieval.SYSTEMS, {retrieval.OURS}, task.AGAINST, peers)
    workload = retrieval.Workload(counts[0], dim, parse_numbers(batches), seconds=seconds, rounds=rounds, threads=threads)
    with working_folder(folder) as workspace:
        figures = task.grow(counts, workload, systems, workspace, peers)
    report.print_heading(f"growth: dimension {dim}, k = {workload.k}, {rounds} rounds of {seconds:g} s")
    for count in counts:
        report.out.print(f"\n{count:,} items")
        retrieval.print_figures([figure for figure in figures if figure["items"] == count])
    print_missing(missing)
    report.write_json(json_file, figures)
    if plot:
        task.plot(figures, plot)


@bench.command()
def scorers(
    models: Annotated[str, typer.Option(help="Which of a, b, c, d, d-wide, with commas between.")] = "a,b,c,d",
    items: Annotated[str, typer.Option(help="Items in the catalogue, several with commas between.")] = "20000,200000",
    batches: Annotated[str, typer.Option(help="Users in one call, several with commas between.")] = "1,16",
    k: Annotated[int, typer.Option("-k", min=1, help="Items for each user.")] = 10,
    seconds: Annotated[float, typer.Option(min=0, help="How long each turn lasts; one call at least.")] = 1.0,
    rounds: Rounds = 3,
    threads: Threads = 0,
    memory: Annotated[bool, typer.Option(help="Measure the memory that ranking a million items takes, too.")] = True,
    folder: Folder = None,
    json_file: JsonFile = None,
) -> None:
    """Measure models that are no dot product: ranked by this product, and by running them on tiled inputs."""
    from recoserve_bench import machine, report
    from recoserve_bench.scorers import bench as task
    from recoserve_bench.scorers.models import SCORERS

    names = parse_names(models)
    if unknown := [name for name in names if name not in SCORERS]:
        raise typer.BadParameter(f"{', '.join(unknown)}: no such model; there are {', '.join(SCORERS)}", param_hint="--models")
    workload = task.Workload(
        [SCORERS[name] for name in names],
        parse_numbers(items),
        parse_numbers(batches),
        k,
        seconds,
        rounds,
        threads or machine.cores(),
    )
    with working_folder(folder) as workspace:
        figures = task.compare(workload, workspace)
        if memory:
            figures.append(task.memory(SCORERS[task.MEMORY_MODEL], workspace))
    report.print_heading(f"scorers: k = {k}, {rounds} rounds of {seconds:g} s")
    task.print_figures(figures)
    report.write_json(json_file, figures)


@bench.command()
def options(
    items: Annotated[int, typer.Option(min=10_000, help="Items in the catalogue.")] = 1 << 20,
    dim: Annotated[int, typer.Option(min=1, help="Dimension of the vectors.")] = 64,
    users: Annotated[int, typer.Option(min=1, help="Users to rank for, each with 2,000 seen items.")] = 32,
    rounds: Rounds = 5,
    threads: Threads = 0,
    folder: Folder = None,
    json_file: JsonFile = None,
) -> None:
    """Measure what filters, exclusions, seen items and diversity cost, each beside the same request without."""
    from recoserve_bench import options as task
    from recoserve_bench import report

    with working_folder(folder) as workspace:
        figures = task.measure(workspace, items, dim, users, rounds, threads)
    report.print_heading(f"options: {items:,} items x {dim}, k = 10, {users} users, {rounds} rounds, one request at a time")
    task.print_figures(figures)
    report.write_json(json_file, figures)


@bench.command()
def exclusions(
    requests: Annotated[int, typer.Option(min=1, help="Requests to send.")] = 1_000_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the random requests.")] = 0,
    folder: Folder = None,
    json_file: JsonFile = None,
) -> None:
    """Check that no response ever holds an excluded item: random requests over HTTP; exit code 1 where one does."""
    from recoserve_bench import exclusions as task
    from recoserve_bench import report

    with working_folder(folder) as workspace:
        figure = task.run(workspace, requests, seed)
    report.print_heading("exclusions: random requests of every kind")
    task.print_figure(figure)
    report.write_json(json_file, [figure])
    raise typer.Exit(1 if figure["wrong"] or set(figure["statuses"]) != {200} else 0)


def parse_names(text: str) -> list[str]:
    """The words of a list with commas between them."""
    return [word.strip() for word in text.split(",") if word.strip()]


def parse_numbers(text: str) -> list[int]:
    """The numbers of a list with commas between them, ascending, each once; raises BadParameter for anything else."""
    try:
        numbers = sorted({int(word) for word in parse_names(text)})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1:
        raise typer.BadParameter(f"{text!r} is not a list of numbers above 0, such as 1,16,64")
    return numbers


@contextmanager
def working_folder(folder: Path | None) -> Iterator[Path]:
    """The folder, made where it isn't there; or a temporary one that is removed at the end."""
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="recoserve-bench-") as temporary:
        yield Path(temporary)


def print_missing(names: list[str]) -> None:
    """Print the peers that were left out because they aren't installed."""
    for name in names:
        typer.echo(f"left out, not installed: {name} (python -m recoserve_bench.peers.install)")
