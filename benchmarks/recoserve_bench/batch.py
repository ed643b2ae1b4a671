"""`python -m recoserve_bench.batch`: all users to Parquet for a slice of time, killed and resumed, against the retrieval alone."""

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

from recoserve.errors import RecoserveError
from recoserve_bench import figures, machine
from recoserve_bench.bundle import bundle_of
from recoserve_bench.command import Folder, Json, kept
from recoserve_bench.errors import SystemFailed
from recoserve_bench.peers.install import ROOT
from recoserve_bench.retrieval import bench, exactness
from recoserve_bench.soak import memory_mib
from recoserve_bench.tables import Floats, write_tables

DIM, RETRIEVAL_BATCH = 64, 64
SAMPLE_SECONDS = 1.0  # between two looks at the memory
WARM_SHARE = 0.2  # of those, before memory counts

app = typer.Typer(pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Turn:
    """One run of the command until it was killed: users ranked in it, seconds of that, and memory in MiB at each look."""

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
    sample: Annotated[int, typer.Option(min=1, help="Users whose answers are checked in float64.")] = 256,
    folder: Folder = None,
    to: Json = None,
) -> None:
    """Users per second against the retrieval alone, memory, and whether a killed run loses or doubles anybody."""
    with kept(folder) as place:
        tables = write_tables(place, "clustered", items, users, DIM)
        bundle = bundle_of(*tables)
        before = retrieval(items, users, k, place)
        output = place / "out.parquet"
        output.unlink(missing_ok=True)
        turns = [turn(bundle, output, k, seconds / 2, "--restart"), turn(bundle, output, k, seconds / 2)]
        after = retrieval(items, users, k, place)
        user_table, item_table = (np.load(path, mmap_mode="r") for path in tables)
        found = check(output, user_table, item_table, min(k, items), sample)
    speed = sum(one.users for one in turns) / sum(one.seconds for one in turns)
    figure = {"system": "recoserve", "operation": "batch", "items": items, "users": users, "k": k, "per_second": speed, **found}
    figure |= {
        "retrieval_per_second": [before, after],
        "share": 2 * speed / (before + after),
        "memory": [warm(one.memory) for one in turns],
    }
    report(figure)
    figures.write_json(to, [figure])
    if found["wrong"]:
        raise SystemFailed(f"{found['wrong']} of {found['checked']} answers are wrong")


def retrieval(items: int, users: int, k: int, folder: Path) -> float:
    """Users per second of `recoserve bench retrieval`, on the same bundle."""
    workload = bench.Workload(items, DIM, [RETRIEVAL_BATCH], min(k, items), RETRIEVAL_BATCH, table_users=users)
    found = bench.compare([one for one in bench.SYSTEMS if one.name == bench.OURS], workload, folder, ROOT)
    return next(float(one["per_second"]) for one in found if one["system"] == bench.OURS)


def turn(bundle: Path, output: Path, k: int, seconds: float, *options: str) -> Turn:
    """Run the command and kill it after `seconds`, if it isn't done; its speed is that between its first part and its last."""
    earlier = set() if options else set(parts(output))
    command = [sys.executable, "-P", "-m", "recoserve", "batch", str(bundle), "-o", str(output), "-k", str(k), *options]
    command += ["--part-seconds", str(min(10, seconds / 10))]
    process = subprocess.Popen(command, env=machine.environment(own=True), stdout=subprocess.DEVNULL)
    marks: dict[int, float] = {}  # users done -> when
    end, memory = time.monotonic() + seconds, []
    while process.poll() is None and time.monotonic() < end:
        memory.append(memory_mib(process.pid)[1])
        marks |= {span(path)[1]: path.stat().st_mtime for path in parts(output) if path not in earlier}
        time.sleep(SAMPLE_SECONDS)
    ended = process.poll()
    process.kill()
    process.wait()
    if ended:
        raise SystemFailed(f"recoserve batch failed with {ended}")
    if len(marks) < 2:
        raise SystemFailed("fewer than two parts were finished before it was killed; ask for more seconds")
    first, last = min(marks), max(marks)
    return Turn(last - first, marks[last] - marks[first], memory)


def check(output: Path, users: Floats, items: Floats, k: int, sample: int) -> dict[str, Any]:
    """Hold every finished part against its users, and answers of `sample` of them against float64.

    Raises SystemFailed where a user is lost, doubled or out of place.
    """
    finished = [output] if output.exists() else parts(output)
    chosen = np.linspace(0, (len(users) if output.exists() else span(finished[-1])[1]) - 1, sample).astype(np.int64)
    rows, scores, done = [], [], 0
    for path in finished:
        start, stop = (0, len(users)) if path == output else span(path)
        with pq.ParquetFile(path) as file:
            table = file.read()
        if start != done or table["user_id"].to_pylist() != list(range(start, stop)):
            raise SystemFailed(f"{path.name}: its users are not {done:,} … {stop - 1:,}, each once")
        mine = table.take(chosen[(chosen >= start) & (chosen < stop)] - start)
        rows += mine["item_ids"].to_pylist()
        scores += mine["scores"].to_pylist()
        done = stop
    best = exactness.best_scores(users[chosen], items, k)
    verdict = exactness.check(users[chosen], items, np.array(rows), np.array(scores, np.float32), best)
    return {"finished": done, "parts": len(finished), "wrong": verdict.wrong, "checked": verdict.users}


def parts(output: Path) -> list[Path]:
    """The finished parts, in the order of their users."""
    return sorted((output.parent / f".{output.name}.partial").glob("part-*.parquet"))


def span(part: Path) -> tuple[int, int]:
    """The first user of a part, and the one behind its last."""
    _, start, stop = part.stem.split("-")
    return int(start), int(stop)


def warm(memory: Sequence[float]) -> dict[str, float]:
    """What no file backs, MiB: early and late, each as the mean of a quarter of the looks, once warm; and the most."""
    looks = np.array(memory[int(len(memory) * WARM_SHARE) :])
    early, *_, late = np.array_split(looks, 4)
    return {"early_mib": float(early.mean()), "late_mib": float(late.mean()), "most_mib": float(looks.max())}


def report(figure: dict[str, Any]) -> None:
    """What was measured, in sentences."""
    before, after = figure["retrieval_per_second"]
    say = figures.out.print
    say("\nbatch: {items:,} items x 64, {users:,} users, k = {k}".format(**figure))
    say(machine.description(), " ".join(["python -m recoserve_bench.batch", *sys.argv[1:]]), sep="\n", markup=False)
    say(
        "{per_second:,.0f} users/s; {share:.2f} of the retrieval alone".format(**figure),
        f"({before:,.0f} before, {after:,.0f} after)",
    )
    say("{finished:,} users in {parts} files, killed on the way: each user once, none left out".format(**figure))
    say("{wrong} of {checked} answers wrong against float64".format(**figure))
    for place, memory in enumerate(figure["memory"], 1):
        say("run {}: {early_mib:,.0f} MiB early, {late_mib:,.0f} late, {most_mib:,.0f} at most".format(place, **memory))


if __name__ == "__main__":
    try:
        app()
    except RecoserveError as error:
        sys.exit(f"error: {error}")
