"""One row after another: built, trained, saved, exported, served, compared."""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recoserve_bench import figures
from recoserve_bench.errors import SystemFailed
from recoserve_bench.figures import Figure, out
from recoserve_bench.seeds.comparison import Truth, by_vectors, compare
from recoserve_bench.seeds.data import Data
from recoserve_bench.seeds.exporting import Exported, export, is_table, model_source, table_source
from recoserve_bench.seeds.frameworks import Framework, framework
from recoserve_bench.seeds.rows import Seed

WORDS = ("row", "model", "framework", "file", "similarity", "truth", "became")
COLUMNS = (*WORDS, "users", "wrong", "difference", "export s", "right")
SHOWN = 42  # of what became of a model, or the table grows too wide


@dataclass(frozen=True)
class Task:
    """The data, how many times it is learned from, and how many users are asked for how many films."""

    data: Data
    folder: Path
    epochs: int = 2
    users: int = 100
    k: int = 100


def run(seeds: Sequence[Seed], task: Task, tell: Callable[[str], None] = lambda _: None) -> list[Figure]:
    """A figure for each, in which `right` says whether all is as it must be; `tell` hears of each as it is done."""
    found = []
    for place, seed in enumerate(seeds):
        folder = task.folder / f"{place:02}"
        folder.mkdir()
        one = _run(seed, folder, task)
        found.append(one)
        tell(f"{seed}: {one['became']}, {one['wrong']} wrong of {one['users']}, largest difference {one['difference']:.2g}")
    return found


def _run(seed: Seed, folder: Path, task: Task) -> Figure:
    about = {"row": seed.row, "model": seed.title, "framework": seed.framework, "file": seed.file}
    result: Figure = {**about, "similarity": seed.similarity or "by default", "truth": seed.truth}
    try:
        return {**result, **(_refused(seed, folder, task) if seed.refused else _served(seed, folder, task))}
    except (SystemFailed, OSError, subprocess.SubprocessError) as error:
        return {**result, **_nothing(f"FAILED: {error}"), "right": False}


def _nothing(became: str, seconds: float = 0.0) -> Figure:
    return {"became": became, "users": 0, "wrong": 0, "difference": 0.0, "seconds": seconds}


def _served(seed: Seed, folder: Path, task: Task) -> Figure:
    from recoserve_bench.seeds.service import serving

    its = framework(seed.framework)
    model = its.build(seed.name, seed=1)
    its.train(model, task.data, task.epochs, seed.logits)
    if seed.steeper != 1:
        its.steepen(model, seed.steeper)
    bundle = folder / "bundle"
    done = _exported(seed, its, model, folder, task.data)
    if done.code:
        raise SystemFailed(f"export ended with {done.code}: {done.complained.strip()[-600:]}")
    with serving(bundle) as service:
        found = compare(service, _truth(seed, its, model, task.data), task.data, task.users, task.k)
    became = _became(json.loads((bundle / "manifest.json").read_text()))
    figure = {"became": became, "users": found.users, "wrong": found.wrong, "difference": found.difference}
    said = [line for line in done.said.splitlines() if line.startswith("warning: ")]
    return {**figure, "seconds": done.seconds, "right": not found.wrong, "warnings": said}


def _exported(seed: Seed, its: Framework, model: Any, folder: Path, data: Data) -> Exported:
    if is_table(seed):
        source = table_source(seed, its.vectors(model, data), folder)
    else:
        path = folder / f"model{seed.file}"
        its.save(model, path)
        source = model_source(seed, path, data, its.inputs(model))
    return export(seed, source, folder / "bundle", data)


def _truth(seed: Seed, its: Framework, model: Any, data: Data) -> Truth:
    if seed.truth == "model":
        return lambda row: its.scores(model, data, row)
    return by_vectors(its.vectors(model, data), cosine=seed.truth == "cosine")


def _became(manifest: dict[str, Any]) -> str:
    """What the manifest says was written."""
    own = manifest["source"].get("formula")
    if manifest["dim"]:
        return f"{manifest['similarity']} of dim {manifest['dim']}" + (f" (own: {own})" if own else "")
    return f"ranker, {manifest['source']['operators_per_pair']} operators per pair"


def _refused(seed: Seed, folder: Path, task: Task) -> Figure:
    """A model that must be refused, with its reason, and nothing written; Keras itself may refuse to build it."""
    its = framework(seed.framework)
    try:
        model = its.build(seed.name, seed=1)
    except ValueError as error:
        said = " ".join(str(error).split())
        return {**_nothing(f"refused by {seed.framework}: {said}"), "right": seed.refused in said}
    done = _exported(seed, its, model, folder, task.data)
    said = " ".join(done.complained.split())
    right = done.code == 1 and seed.refused in said and "Traceback" not in said and not (folder / "bundle").exists()
    return {**_nothing(f"refused: {said.removeprefix('error: ')}", done.seconds), "right": right}


def print_figures(found: Sequence[Figure]) -> None:
    """A row for each."""
    rows = []
    for one in found:
        words = [one[key][:SHOWN] for key in WORDS]
        counts = [str(one["users"]), str(one["wrong"]), f"{one['difference']:.1e}", f"{one['seconds']:.1f}"]
        rows.append([*words, *(counts if one["users"] else ["", "", "", counts[-1]]), "yes" if one["right"] else "NO"])
    figures.print_table(COLUMNS, rows)
    wrong = [one for one in found if not one["right"]]
    largest = max((one["difference"] for one in found), default=0.0)
    out.print(f"{len(found)} models, {len(wrong)} of them not as they must be; largest difference of all {largest:.2g}")
