"""`python -m recoserve_bench.batch`: `recoserve batch` for some minutes, killed and resumed, beside retrieval alone."""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import typer

from recoserve.bundle.arrays import Float32Array
from recoserve.errors import RecoserveError
from recoserve_bench import machine, report
from recoserve_bench.bundle import bundle_of
from recoserve_bench.command import Folder, JsonFile, working_folder
from recoserve_bench.errors import SystemFailed
from recoserve_bench.peers.install import ROOT
from recoserve_bench.retrieval import bench, exactness
from recoserve_bench.soak import memory_mib
from recoserve_bench.tables import write_tables

DIM, RETRIEVAL_BATCH = 64, 64
SAMPLE_SECONDS = 1.0  # between two samples of the memory
WARM_SHARE = 0.2  # of the samples, before they count

app = typer.Typer(pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Run:
    """One run of the command until it was killed: users ranked between its first and its last part, the seconds of that, and
    samples of its memory in MiB.
    """

    users: int
    seconds: float
    memory: Sequence[float]


@app.command()
def main(
    items: Annotated[int, typer.Option(min=1, help="Items in the catalogue.")] = 1 << 20,
    users: Annotated[int, typer.Option(min=1, help="Users in the bundle.")] = 1_000_000,
    k: Annotated[int, typer.Option("-k", min=1, help="Items for each user.")] = 10,
    seconds: Annotated[
        float, typer.Option(min=2, help="How long the command runs in all; it is killed halfway, and at the end if it isn't done.")
    ] = 600,
    sample: Annotated[int, typer.Option(min=1, help="Users whose items are checked in float64.")] = 256,
    folder: Folder = None,
    json_file: JsonFile = None,
) -> None:
    """Measure users per second beside retrieval alone, memory, and whether a killed run loses or doubles a user."""
    with working_folder(folder) as workspace:
        tables = write_tables(workspace, "clustered", items, users, DIM)
        bundle = bundle_of(*tables)
        before = retrieval_speed(items, users, k, workspace)
        output = workspace / "out.parquet"
        output.unlink(missing_ok=True)
        runs = [run(bundle, output, k, seconds / 2, "--restart"), run(bundle, output, k, seconds / 2)]
        after = retrieval_speed(items, users, k, workspace)
        user_table, item_table = (np.load(path, mmap_mode="r") for path in tables)
        verdict = check(output, user_table, item_table, min(k, items), sample)
    speed = sum(run.users for run in runs) / sum(run.seconds for run in runs)
    figure = {"system": "recoserve", "operation": "batch", "items": items, "users": users, "k": k, "per_second": speed, **verdict}
    figure |= {
        "retrieval_per_second": [before, after],
        "share": 2 * speed / (before + after),
        "memory": [memory_once_warm(run.memory) for run in runs],
    }
    print_figure(figure)
    report.write_json(json_file, [figure])
    if figure["wrong"]:
        raise SystemFailed(f"{figure['wrong']} of {figure['checked']} rankings are wrong")


def retrieval_speed(items: int, users: int, k: int, folder: Path) -> float:
    """Users per second of `recoserve bench retrieval`, on the same bundle."""
    workload = bench.Workload(items, DIM, [RETRIEVAL_BATCH], min(k, items), RETRIEVAL_BATCH, table_users=users)
    figures = bench.compare([system for system in bench.SYSTEMS if system.name == bench.OURS], workload, folder, ROOT)
    return next(float(figure["per_second"]) for figure in figures if figure["system"] == bench.OURS)


def run(bundle: Path, output: Path, k: int, seconds: float, *options: str) -> Run:
    """Run the command and kill it after `seconds`, if it isn't done; its speed is that between its first part and its last."""
    earlier = set() if options else set(finished_parts(output))
    command = [sys.executable, "-P", "-m", "recoserve", "batch", str(bundle), "-o", str(output), "-k", str(k), *options]
    command += ["--part-seconds", str(min(10, seconds / 10))]
    process = subprocess.Popen(command, env=machine.environment(), stdout=subprocess.DEVNULL)
    finished_at: dict[int, float] = {}  # users done -> when
    end, memory = time.monotonic() + seconds, []
    while process.poll() is None and time.monotonic() < end:
        memory.append(memory_mib(process.pid)[1])
        new = [path for path in finished_parts(output) if path not in earlier]
        finished_at |= {users_of(path)[1]: path.stat().st_mtime for path in new}
        time.sleep(SAMPLE_SECONDS)
    exit_code = process.poll()
    process.kill()
    process.wait()
    if exit_code:
        raise SystemFailed(f"recoserve batch failed with {exit_code}")
    if len(finished_at) < 2:
        raise SystemFailed("fewer than two parts were finished before it was killed; raise --seconds")
    first, last = min(finished_at), max(finished_at)
    return Run(last - first, finished_at[last] - finished_at[first], memory)


def check(output: Path, users: Float32Array, items: Float32Array, k: int, sample: int) -> dict[str, Any]:
    """Compare every finished part with the users that it must hold, and the rankings of `sample` users with float64.

    Raises SystemFailed where a user is missing, doubled or out of order.
    """
    finished = [output] if output.exists() else finished_parts(output)
    users_done = len(users) if output.exists() else users_of(finished[-1])[1]
    sampled = np.linspace(0, users_done - 1, sample).astype(np.int64)
    rows, scores, done = [], [], 0
    for path in finished:
        start, stop = (0, len(users)) if path == output else users_of(path)
        with pq.ParquetFile(path) as file:
            table = file.read()
        if start != done or table["user_id"].to_pylist() != list(range(start, stop)):
            raise SystemFailed(f"{path.name}: its users are not {done:,} … {stop - 1:,}, each once")
        rankings = table.take(sampled[(sampled >= start) & (sampled < stop)] - start)
        rows += rankings["item_ids"].to_pylist()
        scores += rankings["scores"].to_pylist()
        done = stop
    best = exactness.best_scores(users[sampled], items, k)
    verdict = exactness.check(users[sampled], items, np.array(rows), np.array(scores, np.float32), best)
    return {"finished": done, "parts": len(finished), "wrong": verdict.wrong, "checked": verdict.users}


def finished_parts(output: Path) -> list[Path]:
    """The finished parts beside an output that isn't complete, in the order of their users."""
    return sorted((output.parent / f".{output.name}.partial").glob("part-*.parquet"))


def users_of(part: Path) -> tuple[int, int]:
    """The first user of a part, and the first one after it."""
    _, start, stop = part.stem.split("-")
    return int(start), int(stop)


def memory_once_warm(samples: Sequence[float]) -> dict[str, float]:
    """Memory that no file backs, MiB, once warm: early and late, as means over the first and the last quarter, and the most."""
    counted = np.array(samples[int(len(samples) * WARM_SHARE) :])
    early, *_, late = np.array_split(counted, 4)
    return {"early_mib": float(early.mean()), "late_mib": float(late.mean()), "most_mib": float(counted.max())}


def print_figure(figure: dict[str, Any]) -> None:
    """Print what was measured, in sentences."""
    before, after = figure["retrieval_per_second"]
    say = report.out.print
    say("\nbatch: {items:,} items x 64, {users:,} users, k = {k}".format(**figure))
    say(machine.description(), " ".join(["python -m recoserve_bench.batch", *sys.argv[1:]]), sep="\n", markup=False)
    say(
        "{per_second:,.0f} users/s; {share:.2f} of the retrieval alone".format(**figure),
        f"({before:,.0f} before, {after:,.0f} after)",
    )
    say("{finished:,} users in {parts} files, killed on the way: each user once, none missing".format(**figure))
    say("{wrong} of {checked} rankings wrong against float64".format(**figure))
    for number, memory in enumerate(figure["memory"], 1):
        say("run {}: {early_mib:,.0f} MiB early, {late_mib:,.0f} late, {most_mib:,.0f} at most".format(number, **memory))


if __name__ == "__main__":
    try:
        app()
    except RecoserveError as error:
        sys.exit(f"error: {error}")
