"""Tables to search, made in pieces, so that ten million rows need no more memory than a hundred thousand.

    clustered   2,000 centres with a falling spectrum and rows around them, then a random rotation: like trained embeddings
    random      Gaussian: no structure at all, the worst case for any bound

Rows have unit length. The first rows of a table don't depend on how many follow.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["clustered", "random"]
Floats = NDArray[np.float32]
Draw = Callable[[np.random.Generator, int], Floats]

CENTRES, ITEM_SPREAD, USER_SPREAD = 2000, 0.5, 0.7
PIECE = 1 << 16
SEED = 20261121


def write_tables(folder: Path, kind: Kind, items: int, users: int, dim: int) -> tuple[Path, Path]:
    """The user table and the item table as .npy files of float32 [rows, dim]; those that are there already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for side, (rows, spread) in enumerate(((users, USER_SPREAD), (items, ITEM_SPREAD))):
        path = folder / f"{kind}-{'users' if side == 0 else 'items'}-{rows}x{dim}.npy"
        if not path.exists():
            _write(path, side, rows, dim, _clustered(dim, spread) if kind == "clustered" else _random(dim))
        paths.append(path)
    return paths[0], paths[1]


def unit(rows: Floats) -> Floats:
    """Rows scaled to length 1."""
    scaled: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def _write(path: Path, side: int, rows: int, dim: int, draw: Draw) -> None:
    """Under another name until it is whole, so that a run that was interrupted leaves no half table."""
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)})
        for number, start in enumerate(range(0, rows, PIECE)):
            # A whole piece is drawn even for a few rows, so that they are the same rows in a longer table.
            piece = draw(np.random.default_rng((SEED, side, number)), PIECE)
            file.write(piece[: rows - start].tobytes())
    unfinished.rename(path)


def _random(dim: int) -> Draw:
    return lambda rng, count: unit(rng.standard_normal((count, dim), dtype=np.float32))


def _clustered(dim: int, spread: float) -> Draw:
    rng = np.random.default_rng(SEED)
    spectrum = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    centres = rng.standard_normal((CENTRES, dim), dtype=np.float32) * spectrum
    rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)

    def draw(rng: np.random.Generator, count: int) -> Floats:
        around: Floats = rng.standard_normal((count, dim), dtype=np.float32) * (np.float32(spread) * spectrum)
        # The prototype scales before it rotates as well; a rotation keeps lengths, so once is enough.
        return unit(np.matmul(centres[rng.integers(0, CENTRES, count)] + around, rotation, dtype=np.float32))

    return draw
