"""`recoserve bench retrieval`: systems side by side in interleaved rounds, and whether their rankings are exact."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recoserve.bundle.arrays import Float64Array
from recoserve_bench import machine, report
from recoserve_bench.bundle import bundle_of
from recoserve_bench.report import Figure, out, ratio
from recoserve_bench.retrieval import exactness
from recoserve_bench.retrieval.parent import Process, System
from recoserve_bench.tables import Kind, write_tables

OURS, LIMIT = "recoserve", "int8_read"
SYSTEMS = [
    System(name=OURS, file="recoserve.py"),
    System(name="onnx", file="onnx.py"),
    System(name="numpy", file="numpy.py"),
    System(name="faiss-flat", peer="faiss", file="faiss.py"),
    System(name="faiss-pq", peer="faiss", file="faiss.py", options={"factory": "PQ{}x4fs,RFlat", "k_factor": 100}),
    System(name="scann-brute", peer="scann", file="scann.py", options={"leaves": 0, "reorder": 0}),
    System(name="scann-ah", peer="scann", file="scann.py", options={"leaves": 0, "reorder": 1000}),
    System(name="scann-tree", peer="scann", file="scann.py", options={"leaves": 2000, "reorder": 1000}),
    System(name="usearch", peer="usearch", file="usearch.py"),
]
READING = System(name=LIMIT, file="int8_read.py")
RESIDENT_TOGETHER = 1 << 30  # bytes of float32 items; above it systems run one after another
CHECK_BATCH = 64

Times = dict[tuple[str, int], list[float]]  # seconds of each call, by system and batch


@dataclass(frozen=True)
class Workload:
    """The load: the first `users` of the table are checked for exactness; timed calls go round all `table_users`."""

    items: int
    dim: int
    batches: Sequence[int] = (1, 16, 64)
    k: int = 10
    users: int = 256
    tables: Kind = "clustered"
    retrieval: str = "exact"
    seconds: float = 1.0
    rounds: int = 5
    threads: int = 0
    table_users: int = 10_000


def compare(systems: Sequence[System], workload: Workload, folder: Path, peers: Path) -> list[Figure]:
    """Measure and check each system on tables in `folder`, which are drawn where they aren't there yet."""
    table_users = max(workload.table_users, workload.users)
    users, items = write_tables(folder, workload.tables, workload.items, table_users, workload.dim)
    job = {
        "users": str(users),
        "items": str(items),
        "bundle": str(bundle_of(users, items)),
        "dim": workload.dim,
        "user_rows": table_users,
        "k": workload.k,
        "retrieval": workload.retrieval,
        "threads": workload.threads or machine.cores(),
    }
    fit_together = workload.items * workload.dim * 4 <= RESIDENT_TOGETHER
    everyone = [READING, *systems]
    if not fit_together:
        out.print("the tables are large: systems run one after another, not in interleaved rounds")
    best = exactness.best_scores(np.load(users, mmap_mode="r")[: workload.users], np.load(items, mmap_mode="r"), workload.k)
    figures: list[Figure] = []
    for group in [everyone] if fit_together else [[system] for system in everyone]:
        figures += _compare(group, workload, job, peers, folder / "answers.npz", best)
    return figures


def _compare(
    systems: Sequence[System], workload: Workload, job: dict[str, Any], peers: Path, rankings: Path, best: Float64Array
) -> list[Figure]:
    """The figures of systems that are resident together and take turns."""
    with ExitStack() as stack:
        running = [stack.enter_context(Process(system, peers, job)) for system in systems]
        times = _timed(running, workload)
        return [figure for process in running for figure in _figures(process, times, workload, job, rankings, best)]


def _timed(running: Sequence[Process], workload: Workload) -> Times:
    """Rounds of A B C, A B C: a machine that slows down meanwhile slows all of them alike."""
    times: Times = defaultdict(list)
    for _ in range(workload.rounds):
        for batch in workload.batches:
            for process in running:
                if process.system is not READING or batch == workload.batches[0]:
                    times[process.system.name, batch] += process.run(batch, workload.seconds)
    return times


def _figures(
    process: Process, times: Times, workload: Workload, job: dict[str, Any], rankings: Path, best: Float64Array
) -> Iterator[Figure]:
    name = process.system.name
    about = {"items": workload.items, "dim": workload.dim, "tables": workload.tables, "threads": job["threads"], **process.loaded}
    if process.system is READING:
        seconds = times[name, workload.batches[0]]
        yield report.figure(name, name, seconds, len(seconds) / sum(seconds), batch=1, recall=None, **about)
        return
    paths = process.rank(workload.users, min(CHECK_BATCH, workload.users), rankings)
    verdict = _verdict(rankings, workload, job, best)
    about |= {"k": workload.k, "recall": verdict.recall, "wrong": verdict.wrong, "checked": verdict.users}
    about |= {"score_error": verdict.score_error, "paths": paths}
    for batch in workload.batches:
        seconds = times[name, batch]
        yield report.figure(name, "retrieval", seconds, batch * len(seconds) / sum(seconds), batch=batch, **about)


def _verdict(rankings: Path, workload: Workload, job: dict[str, Any], best: Float64Array) -> exactness.Verdict:
    users, items = (np.load(job[side], mmap_mode="r") for side in ("users", "items"))
    with np.load(rankings) as saved:
        return exactness.check(users[: workload.users], items, saved["rows"], saved["scores"], best)


def print_figures(figures: Sequence[Figure]) -> None:
    """Print a row for each system and batch, in order of batches; our own figures and the limit are the bases of ratios."""
    ours = {figure["batch"]: figure["median_ms"] for figure in figures if figure["system"] == OURS}
    limit = next((figure["median_ms"] for figure in figures if figure["system"] == LIMIT), None)
    ordered = sorted(figures, key=lambda figure: (figure["batch"], figure["system"] != LIMIT))
    columns = "system,batch,median ms,p99 ms,ms a user,users/s,to recoserve,a user to int8 read,recall,wrong,load s,MiB"
    report.print_table(columns.split(","), [_table_row(figure, ours.get(figure["batch"]), limit) for figure in ordered])
    for figure in {figure["system"]: figure for figure in figures}.values():
        if notes := figure["notes"] | figure.get("paths", {}):
            out.print(f"{figure['system']}: " + ", ".join(f"{name} {value}" for name, value in notes.items()), markup=False)


def _table_row(figure: Figure, ours: float | None, limit: float | None) -> list[str]:
    median, batch = figure["median_ms"], figure["batch"]
    compared = ["", "", "", ""]
    if figure["system"] != LIMIT:
        ratios = [ratio(median, ours), ratio(median / batch, limit)]
        compared = [*ratios, f"{figure['recall']:.4f}", f"{figure['wrong']} of {figure['checked']}"]
    return [
        figure["system"],
        str(batch),
        f"{median:.3f}",
        f"{figure['p99_ms']:.3f}",
        f"{median / batch:.4f}",
        f"{figure['per_second']:,.0f}",
        *compared,
        f"{figure['load_seconds']:.1f}",
        f"{figure['resident_mib']:.0f}",
    ]
