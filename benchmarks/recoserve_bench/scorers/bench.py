"""`recoserve bench scorers`: models that score pairs, ranked by this product and by running them on tiled inputs, side by side."""

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recoserve_bench import machine, report
from recoserve_bench.errors import SystemFailed
from recoserve_bench.report import Figure, out, ratio
from recoserve_bench.scorers.models import USERS, Scorer
from recoserve_bench.scorers.tiled import Tiled

OURS, TILED = "recoserve", "tiled"
MEMORY_ITEMS, MEMORY_MODEL = 1_000_000, "b"  # 64 hidden units
CHECKED = 16  # users
TIE = 1e-5  # items whose scores are closer than this may come in either order

Top = Callable[[list[int]], Any]


@dataclass(frozen=True)
class Workload:
    """The load: every model with every number of items; `rounds` turns of `seconds` for each system and batch."""

    models: Sequence[Scorer]
    items: Sequence[int]
    batches: Sequence[int]
    k: int
    seconds: float
    rounds: int
    threads: int


def compare(workload: Workload, folder: Path) -> list[Figure]:
    """The figures of both systems for each model; raises SystemFailed where their items differ by more than ties."""
    figures: list[Figure] = []
    for model in workload.models:
        for items in workload.items:
            out.print(f"model {model.name}, {items:,} items …")
            figures += _compare(model, items, workload, folder)
    return figures


def _compare(scorer: Scorer, items: int, workload: Workload, folder: Path) -> list[Figure]:
    from recoserve.scheduling.loader import load_model
    from recoserve.search.query import Query

    files = _prepared(scorer, items, folder)
    model = load_model(files / "bundle", threads=workload.threads)
    tiled = Tiled(files / "model.onnx", workload.threads, scorer, items)
    tops: dict[str, Top] = {
        OURS: lambda users: model.rank([Query(user, workload.k) for user in users]),
        TILED: lambda users: tiled.top(users, workload.k),
    }
    wrong = _count_wrong(tops[OURS](list(range(CHECKED))), tiled)
    if wrong:
        raise SystemFailed(f"model {scorer.name}, {items:,} items: {wrong} of {CHECKED} rankings differ between the two")
    operators = int(model.manifest.source.get("operators_per_pair", 0))
    about = {"model": scorer.name, "items": items, "threads": workload.threads, "operators_per_pair": operators}
    return [
        report.figure(system, "scorers", times, batch * len(times) / sum(times), batch=batch, recall=1.0, **about)
        for (system, batch), times in _timed(tops, workload).items()
    ]


def _prepared(scorer: Scorer, items: int, folder: Path) -> Path:
    """A folder with the bundle and the framework's own graph, reused by the next run."""
    files = folder / f"{scorer.name}-{items}"
    if not (files / "bundle").exists():
        files.mkdir(exist_ok=True)
        _run_module("prepare", scorer.name, str(items), str(files))
    return files


def _run_module(module: str, *arguments: str) -> str:
    """The output of a program of this room; raises SystemFailed with the end of its error output."""
    command = [sys.executable, "-P", "-m", f"recoserve_bench.scorers.{module}", *arguments]
    environment = machine.environment() | {"KERAS_BACKEND": "torch"}
    process = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if process.returncode:
        raise SystemFailed(f"recoserve_bench.scorers.{module} {' '.join(arguments)} failed: {process.stderr.strip()[-500:]}")
    return process.stdout


def _count_wrong(rankings: Sequence[Any], tiled: Tiled) -> int:
    """For how many users the items don't have the scores of the best of all items, as the tiled graph gives them."""
    wrong = 0
    for user, ranking in enumerate(rankings):
        scores = tiled.scores(user)
        best = np.sort(scores)[::-1][: len(ranking.item_rows)]
        wrong += not (np.abs(scores[ranking.item_rows] - best) <= TIE).all()
    return wrong


def _timed(tops: Mapping[str, Top], workload: Workload) -> dict[tuple[str, int], list[float]]:
    """Turns of A B, A B, of one call at least: a machine that slows down meanwhile slows both alike."""
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    rng = np.random.default_rng(0)
    for _ in range(workload.rounds):
        for batch in workload.batches:
            for system, top in tops.items():
                ends = time.perf_counter() + workload.seconds
                while True:
                    users = rng.integers(USERS, size=batch).tolist()
                    started = time.perf_counter()
                    top(users)
                    times[system, batch].append(time.perf_counter() - started)
                    if time.perf_counter() >= ends:
                        break
    return times


def memory(scorer: Scorer, folder: Path) -> Figure:
    """The memory that ranking `MEMORY_ITEMS` items takes, MiB beyond the mapped tables, measured in a process of its own."""
    out.print(f"model {scorer.name}, {MEMORY_ITEMS:,} items, memory …")
    printed = _run_module("memory", str(_prepared(scorer, MEMORY_ITEMS, folder) / "bundle"))
    return {"system": OURS, "operation": "memory", "model": scorer.name, "items": MEMORY_ITEMS, **json.loads(printed)}


def print_figures(figures: Sequence[Figure]) -> None:
    """Print a row for each model, number of items and batch, with how many times as fast the bundle is."""
    timed = {
        (figure["model"], figure["items"], figure["batch"], figure["system"]): figure
        for figure in figures
        if figure["operation"] == "scorers"
    }
    rows = []
    for (model, items, batch, system), figure in timed.items():
        if system == OURS:
            tiled, ours = timed[model, items, batch, TILED]["median_ms"], figure["median_ms"]
            times = [f"{ours:.3f}", f"{tiled:.3f}", ratio(tiled, ours)]
            rows.append([model, f"{items:,}", str(batch), str(figure["operators_per_pair"]), *times])
    report.print_table(["model", "items", "batch", "operators a pair", "recoserve ms", "tiled ms", "times as fast"], rows)
    for figure in figures:
        if figure["operation"] == "memory":
            out.print("memory, model {model}, {items:,} items: {anonymous_mib:.0f} MiB beyond the mapped tables".format(**figure))
