"""The command line, as its users type it: `recoserve export` in a process of its own."""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recoserve_bench import machine
from recoserve_bench.seeds.data import Data
from recoserve_bench.seeds.frameworks import Scores
from recoserve_bench.seeds.rows import TABLES, Seed

BUILT = (".pt", ".pth", ".safetensors")  # weights alone: the class builds the module
EXPORT_SECONDS = 600


@dataclass(frozen=True)
class Exported:
    """What came of it: the exit code, the words on both streams, and how long it took."""

    code: int
    said: str
    complained: str
    seconds: float


def export(seed: Seed, source: list[str], bundle: Path, data: Data) -> Exported:
    """Write the bundle, with the external ids of the data, and the genres of its items file where the model takes a genre."""
    command = [*source, "--out", str(bundle), *_ids(bundle.parent, data)]
    if seed.similarity:
        command += ["--similarity", seed.similarity]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "recoserve", "export", *command],
        capture_output=True,
        text=True,
        env=machine.environment(own=True),
        cwd=bundle.parent,
        timeout=EXPORT_SECONDS,
        check=False,
    )
    return Exported(done.returncode, done.stdout, done.stderr, time.perf_counter() - started)


def model_source(seed: Seed, path: Path, data: Data, inputs: Sequence[str]) -> list[str]:
    """Arguments that name a model's file."""
    words = [str(path)]
    if seed.file in BUILT:
        words += ["--architecture", f"recoserve_bench.seeds.torch_models:{seed.name}"]
    if seed.file == ".pt2":
        words += ["--trust"]
    for feature in {"genre", "genres"} & set(inputs):
        words += ["--item-feature", f"{feature}={data.movies_file}:genres"]
    return words


def table_source(seed: Seed, vectors: tuple[Scores, Scores], folder: Path) -> list[str]:
    """Two tables, written in float32, and the arguments that name them."""
    tables = [np.ascontiguousarray(each, np.float32) for each in vectors]
    if seed.file == ".safetensors":
        from safetensors.numpy import save_file

        save_file(dict(zip(("user_table", "item_table"), tables, strict=True)), folder / "tables.safetensors")
        return [str(folder / "tables.safetensors")]
    paths = [str(folder / name) for name in ("users.npy", "items.npy")]
    for path, table in zip(paths, tables, strict=True):
        np.save(path, table)
    return ["--user-embeddings", paths[0], "--item-embeddings", paths[1]]


def is_table(seed: Seed) -> bool:
    return seed.framework == TABLES


def _ids(folder: Path, data: Data) -> list[str]:
    words = []
    for side, ids in (("user", data.user_ids), ("item", data.movie_ids)):
        path = folder / f"{side}_ids.txt"
        path.write_text("".join(f"{each}\n" for each in ids))
        words += [f"--{side}-ids", str(path)]
    return words
