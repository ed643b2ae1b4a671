"""Reads files that hold one list: an array, a JSON list, or one text on each line. Pickled objects are never loaded."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import ExportRefused


def read_array(path: Path, contents: str) -> NDArray[Any]:
    """The array of a `.npy` file; raises ExportRefused for any other file. `contents` says in the message what it should hold."""
    with _readable(path):
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError):
            array = None
    if not isinstance(array, np.ndarray):  # an .npz archive opens as another class
        raise ExportRefused(
            f"{path}: not a .npy file of {contents} (pickled objects are never loaded); save a plain array with numpy.save"
        )
    return array


def read_json(path: Path, contents: str) -> list[Any]:
    """The list of a `.json` file; raises ExportRefused for any other file. `contents` says in the message what it should hold."""
    with _readable(path), open(path, encoding="utf-8-sig") as file:
        try:
            entries = json.load(file)
        except json.JSONDecodeError as error:
            raise ExportRefused(f"{path}: not JSON ({error}); it must be one JSON list of {contents}") from None
        except RecursionError:
            raise ExportRefused(f"{path}: nested too deeply; it must be one JSON list of {contents}") from None
    if not isinstance(entries, list):
        raise ExportRefused(f"{path}: must be one JSON list of {contents}, in row order")
    return entries


def read_text(path: Path) -> list[str]:
    """The lines of a UTF-8 file, stripped, empty ones included; raises ExportRefused for a file that can't be read."""
    with _readable(path), open(path, encoding="utf-8-sig") as file:
        return [line.strip() for line in file]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns errors of opening and decoding a file into ExportRefused."""
    try:
        yield
    except UnicodeDecodeError:
        raise ExportRefused(f"{path}: not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise ExportRefused(f"can't read {path}: {error.strerror or error}; check the path") from None
