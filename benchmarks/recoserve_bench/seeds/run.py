"""One model after another: built, trained, saved, exported, served, compared."""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recoserve_bench import report
from recoserve_bench.errors import SystemFailed
from recoserve_bench.report import Figure, out
from recoserve_bench.seeds.comparison import Truth, by_vectors, compare
from recoserve_bench.seeds.data import Data
from recoserve_bench.seeds.exporting import Exported, export, model_source, table_source
from recoserve_bench.seeds.frameworks import Framework, load_framework
from recoserve_bench.seeds.rows import Seed

TEXT_COLUMNS = ("row", "model", "framework", "file", "similarity", "truth", "became")
COLUMNS = (*TEXT_COLUMNS, "users", "wrong", "difference", "export s", "right")
MOST_CHARACTERS = 42  # of a text column, or the table grows too wide


@dataclass(frozen=True)
class Task:
    """The data, how many epochs the models learn from it, and how many users are compared for how many films."""

    data: Data
    folder: Path
    epochs: int = 2
    users: int = 100
    k: int = 100


def run(seeds: Sequence[Seed], task: Task, print_line: Callable[[str], None] = lambda _: None) -> list[Figure]:
    """A figure for each model, `right` where all is as it must be; `print_line` is called with a line as each is done."""
    figures = []
    for number, seed in enumerate(seeds):
        folder = task.folder / f"{number:02}"
        folder.mkdir()
        figure = _run(seed, folder, task)
        figures.append(figure)
        differences = f"{figure['wrong']} wrong of {figure['users']}, largest difference {figure['difference']:.2g}"
        print_line(f"{seed}: {figure['became']}, {differences}")
    return figures


def _run(seed: Seed, folder: Path, task: Task) -> Figure:
    about = {"row": seed.row, "model": seed.title, "framework": seed.framework, "file": seed.file}
    about |= {"similarity": seed.similarity or "by default", "truth": seed.truth}
    try:
        return {**about, **(_refused(seed, folder, task) if seed.refused else _served(seed, folder, task))}
    except (SystemFailed, OSError, subprocess.SubprocessError) as error:
        return {**about, **_without_service(f"FAILED: {error}"), "right": False}


def _without_service(became: str, seconds: float = 0.0) -> Figure:
    return {"became": became, "users": 0, "wrong": 0, "difference": 0.0, "seconds": seconds}


def _served(seed: Seed, folder: Path, task: Task) -> Figure:
    """The figure of a model that is trained, exported, served and compared."""
    from recoserve_bench.seeds.service import serving

    framework = load_framework(seed.framework)
    model = framework.build(seed.name, seed=1)
    framework.train(model, task.data, task.epochs, seed.logits)
    if seed.steeper != 1:
        framework.steepen(model, seed.steeper)
    bundle = folder / "bundle"
    exported = _export(seed, framework, model, folder, task.data)
    if exported.code:
        raise SystemFailed(f"export ended with {exported.code}: {exported.stderr.strip()[-600:]}")
    with serving(bundle) as service:
        comparison = compare(service, _truth(seed, framework, model, task.data), task.data, task.users, task.k)
    return {
        "became": _became(json.loads((bundle / "manifest.json").read_text())),
        "users": comparison.users,
        "wrong": comparison.wrong,
        "difference": comparison.difference,
        "seconds": exported.seconds,
        "right": not comparison.wrong,
        "warnings": [line for line in exported.stdout.splitlines() if line.startswith("warning: ")],
    }


def _export(seed: Seed, framework: Framework, model: Any, folder: Path, data: Data) -> Exported:
    if seed.is_tables:
        source = table_source(seed, framework.vectors(model, data), folder)
    else:
        path = folder / f"model{seed.file}"
        framework.save(model, path)
        source = model_source(seed, path, data, framework.inputs(model))
    return export(seed, source, folder / "bundle", data)


def _truth(seed: Seed, framework: Framework, model: Any, data: Data) -> Truth:
    if seed.truth == "model":
        return lambda row: framework.scores(model, data, row)
    return by_vectors(framework.vectors(model, data), cosine=seed.truth == "cosine")


def _became(manifest: dict[str, Any]) -> str:
    """The kind of bundle that was written, as its manifest says."""
    formula = manifest["source"].get("formula")
    if manifest["dim"]:
        return f"{manifest['similarity']} of dim {manifest['dim']}" + (f" (own: {formula})" if formula else "")
    return f"ranker, {manifest['source']['operators_per_pair']} operators per pair"


def _refused(seed: Seed, folder: Path, task: Task) -> Figure:
    """The figure of a model that must be refused, with its reason, and nothing written; Keras itself may refuse to build it."""
    framework = load_framework(seed.framework)
    try:
        model = framework.build(seed.name, seed=1)
    except ValueError as error:
        reason = " ".join(str(error).split())
        return {**_without_service(f"refused by {seed.framework}: {reason}"), "right": seed.refused in reason}
    exported = _export(seed, framework, model, folder, task.data)
    reason = " ".join(exported.stderr.split())
    is_clean = "Traceback" not in reason and not (folder / "bundle").exists()
    right = exported.code == 1 and seed.refused in reason and is_clean
    return {**_without_service(f"refused: {reason.removeprefix('error: ')}", exported.seconds), "right": right}


def print_figures(figures: Sequence[Figure]) -> None:
    """Print a row for each model, and how many are wrong."""
    rows = []
    for figure in figures:
        texts = [figure[key][:MOST_CHARACTERS] for key in TEXT_COLUMNS]
        seconds = f"{figure['seconds']:.1f}"
        counts = [str(figure["users"]), str(figure["wrong"]), f"{figure['difference']:.1e}"] if figure["users"] else ["", "", ""]
        rows.append([*texts, *counts, seconds, "yes" if figure["right"] else "NO"])
    report.print_table(COLUMNS, rows)
    wrong = [figure for figure in figures if not figure["right"]]
    largest = max((figure["difference"] for figure in figures), default=0.0)
    out.print(f"{len(figures)} models, {len(wrong)} of them not as they must be; largest difference of all {largest:.2g}")
