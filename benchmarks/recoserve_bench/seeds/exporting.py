"""`recoserve export` as its users type it, in a process of its own."""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recoserve.bundle.arrays import Float64Array
from recoserve_bench import machine
from recoserve_bench.seeds.data import Data
from recoserve_bench.seeds.rows import Seed

WEIGHTS_ALONE = (".pt", ".pth", ".safetensors")  # the class must be named that builds the module
EXPORT_SECONDS = 600


@dataclass(frozen=True)
class Exported:
    """The exit code, the output on both streams, and the seconds that it took."""

    code: int
    stdout: str
    stderr: str
    seconds: float


def export(seed: Seed, source: list[str], bundle: Path, data: Data) -> Exported:
    """Write the bundle of `source` (arguments of the command), with the external ids of the data."""
    command = [*source, "--out", str(bundle), *_ids(bundle.parent, data)]
    if seed.similarity:
        command += ["--similarity", seed.similarity]
    started = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-P", "-m", "recoserve", "export", *command],
        capture_output=True,
        text=True,
        env=machine.environment(),
        cwd=bundle.parent,
        timeout=EXPORT_SECONDS,
        check=False,
    )
    return Exported(process.returncode, process.stdout, process.stderr, time.perf_counter() - started)


def model_source(seed: Seed, path: Path, data: Data, inputs: Sequence[str]) -> list[str]:
    """The arguments that name a model's file, how it is built, and the items file where the model takes genres."""
    arguments = [str(path)]
    if seed.file in WEIGHTS_ALONE:
        arguments += ["--architecture", f"recoserve_bench.seeds.torch_models:{seed.name}"]
    if seed.file == ".pt2":
        arguments += ["--trust"]
    for feature in {"genre", "genres"} & set(inputs):
        arguments += ["--item-feature", f"{feature}={data.movies_file}:genres"]
    return arguments


def table_source(seed: Seed, vectors: tuple[Float64Array, Float64Array], folder: Path) -> list[str]:
    """The arguments that name two tables, which are written in float32."""
    tables = [np.ascontiguousarray(table, np.float32) for table in vectors]
    if seed.file == ".safetensors":
        from safetensors.numpy import save_file

        save_file(dict(zip(("user_table", "item_table"), tables, strict=True)), folder / "tables.safetensors")
        return [str(folder / "tables.safetensors")]
    paths = [str(folder / name) for name in ("users.npy", "items.npy")]
    for path, table in zip(paths, tables, strict=True):
        np.save(path, table)
    return ["--user-embeddings", paths[0], "--item-embeddings", paths[1]]


def _ids(folder: Path, data: Data) -> list[str]:
    arguments = []
    for side, ids in (("user", data.user_ids), ("item", data.movie_ids)):
        path = folder / f"{side}_ids.txt"
        path.write_text("".join(f"{external}\n" for external in ids))
        arguments += [f"--{side}-ids", str(path)]
    return arguments
