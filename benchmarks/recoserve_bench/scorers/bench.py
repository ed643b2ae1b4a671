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

from recoserve_bench import figures, machine
from recoserve_bench.errors import SystemFailed
from recoserve_bench.figures import Figure, out, ratio
from recoserve_bench.scorers.models import USERS, Scorer
from recoserve_bench.scorers.tiled import Tiled

OURS, TILED = "recoserve", "tiled"
MEMORY_ITEMS, MEMORY_MODEL = 1_000_000, "b"  # 64 hidden units
CHECKED = 16  # users
TIE = 1e-5  # scores closer than this may change places

Top = Callable[[list[int]], Any]


@dataclass(frozen=True)
class Workload:
    """What is measured: every model with every size of the catalogue; `rounds` turns of `seconds` each for either system."""

    models: Sequence[Scorer]
    items: Sequence[int]
    batches: Sequence[int]
    k: int
    seconds: float
    rounds: int
    threads: int


def compare(workload: Workload, folder: Path) -> list[Figure]:
    """Both systems on each model; raises SystemFailed where their answers differ by more than ties."""
    found: list[Figure] = []
    for model in workload.models:
        for items in workload.items:
            out.print(f"model {model.name}, {items:,} items …")
            found += _compared(model, items, workload, folder)
    return found


def _compared(scorer: Scorer, items: int, workload: Workload, folder: Path) -> list[Figure]:
    from recoserve.scheduling.loader import load_model
    from recoserve.search.query import Query

    place = _prepared(scorer, items, folder)
    ours = load_model(place / "bundle", threads=workload.threads)
    tiled = Tiled(place / "model.onnx", workload.threads, scorer, items)
    tops: dict[str, Top] = {
        OURS: lambda users: ours.rank([Query(user, workload.k) for user in users]),
        TILED: lambda users: tiled.top(users, workload.k),
    }
    wrong = _wrong(tops[OURS](list(range(CHECKED))), tiled)
    if wrong:
        raise SystemFailed(f"model {scorer.name}, {items:,} items: {wrong} of {CHECKED} answers differ between the two")
    times = _timed(tops, workload)
    left = int(ours.manifest.source.get("operators_per_pair", 0))
    told = {"model": scorer.name, "items": items, "threads": workload.threads, "operators_per_pair": left}
    return [
        figures.figure(system, "scorers", found, batch * len(found) / sum(found), batch=batch, recall=1.0, **told)
        for (system, batch), found in times.items()
    ]


def _prepared(scorer: Scorer, items: int, folder: Path) -> Path:
    """A folder with the bundle and the framework's own graph, kept for the next run."""
    place = folder / f"{scorer.name}-{items}"
    if not (place / "bundle").exists():
        place.mkdir(exist_ok=True)
        _python("prepare", scorer.name, str(items), str(place))
    return place


def _python(module: str, *arguments: str) -> str:
    """What a program of this package prints; raises SystemFailed with its last words."""
    command = [sys.executable, "-P", "-m", f"recoserve_bench.scorers.{module}", *arguments]
    environment = machine.environment(own=True) | {"KERAS_BACKEND": "torch"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemFailed(f"recoserve_bench.scorers.{module} {' '.join(arguments)} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def _wrong(answers: Sequence[Any], tiled: Tiled) -> int:
    """How many users' items don't have the scores of the best of all items, as the tiled graph gives them."""
    wrong = 0
    for user, answer in enumerate(answers):
        scores = tiled.scores(user)
        best = np.sort(scores)[::-1][: len(answer.item_rows)]
        wrong += not (np.abs(scores[answer.item_rows] - best) <= TIE).all()
    return wrong


def _timed(tops: Mapping[str, Top], workload: Workload) -> dict[tuple[str, int], list[float]]:
    """Turns of A B, A B: a machine that slows down meanwhile slows both alike. At least one call a turn."""
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
    """Memory for an answer over `MEMORY_ITEMS` items, MiB beyond the mapped tables, in a process of its own."""
    out.print(f"model {scorer.name}, {MEMORY_ITEMS:,} items, memory …")
    told = _python("memory", str(_prepared(scorer, MEMORY_ITEMS, folder) / "bundle"))
    return {"system": OURS, "operation": "memory", "model": scorer.name, "items": MEMORY_ITEMS, **json.loads(told)}


def print_figures(found: Sequence[Figure]) -> None:
    """A row for each model, size and batch, with how many times as fast the bundle is."""
    timed = [one for one in found if one["operation"] == "scorers"]
    medians = {(one["model"], one["items"], one["batch"], one["system"]): one["median_ms"] for one in timed}
    rows = []
    for one in timed:
        if one["system"] == OURS:
            tiled = medians[one["model"], one["items"], one["batch"], TILED]
            times = [f"{one['median_ms']:.3f}", f"{tiled:.3f}", ratio(tiled, one["median_ms"])]
            rows.append([one["model"], f"{one['items']:,}", str(one["batch"]), str(one["operators_per_pair"]), *times])
    figures.print_table(["model", "items", "batch", "operators a pair", "recoserve ms", "tiled ms", "times as fast"], rows)
    for one in found:
        if one["operation"] == "memory":
            out.print(
                f"memory, model {one['model']}, {one['items']:,} items: {one['anonymous_mib']:.0f} MiB beyond the mapped tables"
            )
