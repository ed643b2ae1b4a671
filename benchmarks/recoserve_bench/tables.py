"""Tables to search, drawn chunk by chunk, so that ten million rows need no more memory than a hundred thousand.

    clustered   2,000 centres with a falling spectrum and rows around them, then a random rotation: like trained embeddings
    random      Gaussian: no structure at all, the worst case for any bound

Rows have unit length. The first rows of a table don't depend on how many follow.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from recoserve.bundle.arrays import Float32Array

Kind = Literal["clustered", "random"]
Draw = Callable[[np.random.Generator, int], Float32Array]

CENTRES, ITEM_SPREAD, USER_SPREAD = 2000, 0.5, 0.7
CHUNK = 1 << 16
SEED = 20261121


def write_tables(folder: Path, kind: Kind, items: int, users: int, dim: int) -> tuple[Path, Path]:
    """The paths of the user table and the item table, float32 [rows, dim] in .npy files; one that is there already is reused."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for side, (rows, spread) in enumerate(((users, USER_SPREAD), (items, ITEM_SPREAD))):
        path = folder / f"{kind}-{'users' if side == 0 else 'items'}-{rows}x{dim}.npy"
        if not path.exists():
            _write(path, side, rows, dim, _clustered(dim, spread) if kind == "clustered" else _random(dim))
        paths.append(path)
    return paths[0], paths[1]


def unit(rows: Float32Array) -> Float32Array:
    """The rows, each scaled to length 1."""
    scaled: Float32Array = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def _write(path: Path, side: int, rows: int, dim: int, draw: Draw) -> None:
    """Write a table. It has another name until it is complete, so that an interrupted run leaves no half table."""
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)})
        for number, start in enumerate(range(0, rows, CHUNK)):
            # A full chunk is drawn even where a few rows are needed, so that they are the same rows in a longer table.
            chunk = draw(np.random.default_rng((SEED, side, number)), CHUNK)
            file.write(chunk[: rows - start].tobytes())
    unfinished.rename(path)


def _random(dim: int) -> Draw:
    return lambda rng, count: unit(rng.standard_normal((count, dim), dtype=np.float32))


def _clustered(dim: int, spread: float) -> Draw:
    rng = np.random.default_rng(SEED)
    spectrum = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    centres = rng.standard_normal((CENTRES, dim), dtype=np.float32) * spectrum
    rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)

    def draw(rng: np.random.Generator, count: int) -> Float32Array:
        offsets: Float32Array = rng.standard_normal((count, dim), dtype=np.float32) * (np.float32(spread) * spectrum)
        # A rotation keeps lengths, so scaling once, after it, is enough.
        return unit(np.matmul(centres[rng.integers(0, CENTRES, count)] + offsets, rotation, dtype=np.float32))

    return draw
