"""`recoserve bench retrieval`: systems side by side in interleaved rounds, and whether their answers are exact."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recoserve_bench import figures, machine
from recoserve_bench.bundle import bundle_of
from recoserve_bench.figures import Figure, out, ratio
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


@dataclass(frozen=True)
class Workload:
    """What is asked: `users` of the table are checked for exactness, all of them take their turns in the timing."""

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
    """Measure and check each system on tables in `folder`, which are made where they aren't there yet."""
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
    together = workload.items * workload.dim * 4 <= RESIDENT_TOGETHER
    everyone = [READING, *systems]
    if not together:
        out.print("the tables are large: systems run one after another, not in interleaved rounds")
    found: list[Figure] = []
    best = exactness.best_scores(np.load(users, mmap_mode="r")[: workload.users], np.load(items, mmap_mode="r"), workload.k)
    for group in [everyone] if together else [[one] for one in everyone]:
        found += _compared(group, workload, job, peers, folder / "answers.npz", best)
    return found


def _compared(
    group: Sequence[System], workload: Workload, job: dict[str, Any], peers: Path, answers: Path, best: exactness.Doubles
) -> list[Figure]:
    with ExitStack() as stack:
        running = [stack.enter_context(Process(one, peers, job)) for one in group]
        times = _timed(running, workload)
        return [one for process in running for one in _figures(process, times, workload, job, answers, best)]


def _timed(running: Sequence[Process], workload: Workload) -> dict[tuple[str, int], list[float]]:
    """Rounds of A B C, A B C: a machine that slows down meanwhile slows all of them alike."""
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(workload.rounds):
        for batch in workload.batches:
            for process in running:
                if process.system is not READING or batch == workload.batches[0]:
                    times[process.system.name, batch] += process.run(batch, workload.seconds)
    return times


def _figures(
    process: Process,
    times: dict[tuple[str, int], list[float]],
    workload: Workload,
    job: dict[str, Any],
    answers: Path,
    best: exactness.Doubles,
) -> Iterator[Figure]:
    name = process.system.name
    place = {"items": workload.items, "dim": workload.dim, "tables": workload.tables, "threads": job["threads"], **process.loaded}
    if process.system is READING:
        found = times[name, workload.batches[0]]
        yield figures.figure(name, name, found, len(found) / sum(found), batch=1, recall=None, **place)
        return
    paths = process.answers(workload.users, min(CHECK_BATCH, workload.users), answers)
    with np.load(answers) as saved:
        checked = (np.load(job[side], mmap_mode="r") for side in ("users", "items"))
        users, items = checked
        verdict = exactness.check(users[: workload.users], items, saved["rows"], saved["scores"], best)
    told = {"recall": verdict.recall, "wrong": verdict.wrong, "checked": verdict.users, "score_error": verdict.score_error}
    for batch in workload.batches:
        found = times[name, batch]
        per_second = batch * len(found) / sum(found)
        yield figures.figure(name, "retrieval", found, per_second, batch=batch, k=workload.k, **place, **told, paths=paths)


def print_figures(found: Sequence[Figure]) -> None:
    """A row for each system and batch, in order of batches; our own figures and the limit as the bases of ratios."""
    ours = {one["batch"]: one["median_ms"] for one in found if one["system"] == OURS}
    limit = next((one["median_ms"] for one in found if one["system"] == LIMIT), None)
    rows = []
    for one in sorted(found, key=lambda one: (one["batch"], one["system"] != LIMIT)):
        median, batch = one["median_ms"], one["batch"]
        reading = one["system"] == LIMIT
        rows.append(
            [
                one["system"],
                str(batch),
                f"{median:.3f}",
                f"{one['p99_ms']:.3f}",
                f"{median / batch:.4f}",
                f"{one['per_second']:,.0f}",
                "" if reading else ratio(median, ours.get(batch)),
                "" if reading else ratio(median / batch, limit),
                "" if reading else f"{one['recall']:.4f}",
                "" if reading else f"{one['wrong']} of {one['checked']}",
                f"{one['load_seconds']:.1f}",
                f"{one['resident_mib']:.0f}",
            ]
        )
    columns = "system,batch,median ms,p99 ms,ms a user,users/s,to recoserve,a user to int8 read,recall,wrong,load s,MiB"
    figures.print_table(columns.split(","), rows)
    for one in {one["system"]: one for one in found}.values():
        if told := one["notes"] | one.get("paths", {}):
            out.print(f"{one['system']}: " + ", ".join(f"{name} {value}" for name, value in told.items()), markup=False)
