"""Files that list one thing after another: an array, a JSON list, or lines of text. Nothing pickled is ever loaded."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import ExportRefused


def read_array(path: Path, holds: str) -> NDArray[Any]:
    """The array of a `.npy` file; `holds` says in the message what it should hold. Raises ExportRefused."""
    with _readable(path):
        try:
            found = np.load(path, allow_pickle=False)
        except (ValueError, EOFError):
            found = None
    if not isinstance(found, np.ndarray):
        raise ExportRefused(f"{path}: not a .npy file of {holds} (pickled objects are never loaded)")
    return found


def read_json(path: Path, holds: str) -> list[Any]:
    """The one list of a `.json` file; raises ExportRefused."""
    with _readable(path), open(path, encoding="utf-8-sig") as file:
        try:
            found = json.load(file)
        except json.JSONDecodeError as error:
            raise ExportRefused(f"{path}: not JSON ({error})") from None
    if not isinstance(found, list):
        raise ExportRefused(f"{path}: must be one JSON list of {holds}, in row order")
    return found


def read_text(path: Path) -> list[str]:
    """The lines of a text file, without the space around them; raises ExportRefused."""
    with _readable(path), open(path, encoding="utf-8-sig") as file:
        return [line.strip() for line in file]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise ExportRefused(f"{path}: not UTF-8; save it in that encoding") from None
    except OSError as error:
        raise ExportRefused(f"{path}: {error.strerror or error}") from None
