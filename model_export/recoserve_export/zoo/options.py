"""What the options of `recoserve train` take."""

from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

import typer

from recoserve.bundle.manifest import NAME

LARGEST = 1e6  # of a rate, a weight or a temperature: far beyond any use, far below what float32 holds
LARGEST_DIM = 1 << 16

N = TypeVar("N", int, float)


class ArchitectureName(StrEnum):
    """What `--architecture` takes."""

    KERAS_DOT = "keras-dot"
    TORCH_DOT = "torch-dot"
    KERAS_BIASED_DOT = "keras-biased-dot"
    TORCH_BIASED_DOT = "torch-biased-dot"
    KERAS_MLP = "keras-mlp"
    TORCH_MLP = "torch-mlp"
    KERAS_GENRE_MLP = "keras-genre-mlp"
    TORCH_GENRE_MLP = "torch-genre-mlp"
    KERAS_TWO_TOWER = "keras-two-tower"
    TORCH_TWO_TOWER = "torch-two-tower"
    KERAS_NEUMF = "keras-neumf"
    TORCH_NEUMF = "torch-neumf"


class SimilarityName(StrEnum):
    """What `--similarity` takes."""

    COSINE = "cosine"
    DOT = "dot"


def positive(value: float | None) -> float | None:
    """A number above 0."""
    if value is not None and not 0 < value <= LARGEST:
        raise typer.BadParameter(f"must be a number above 0, {LARGEST:g} at most")
    return value


def not_negative(value: float | None) -> float | None:
    """A number from 0 on."""
    if value is not None and not 0 <= value <= LARGEST:
        raise typer.BadParameter(f"must be a number from 0 to {LARGEST:g}")
    return value


def share(value: float) -> float:
    """A part of one."""
    if not 0 < value < 1:
        raise typer.BadParameter("must lie between 0 and 1, neither included")
    return value


def plain(value: str | None) -> str | None:
    """A name that can stand in a path and a label."""
    if value is not None and not NAME.fullmatch(value):
        raise typer.BadParameter("must be 1 to 128 characters of A-Za-z0-9._-, the first a letter or digit")
    return value


def dimensions(text: str | None) -> list[int] | None:
    """Dimensions with commas between them, each once."""
    return _listed(text, int, lambda dim: 1 <= dim <= LARGEST_DIM, f"whole numbers from 1 to {LARGEST_DIM}, like 8,16,32")


def weights(text: str | None) -> list[float] | None:
    """Weights of regularisation with commas between them, each once."""
    return _listed(text, float, lambda weight: 0 <= weight <= LARGEST, f"numbers from 0 to {LARGEST:g}, like 0,1e-4,1e-3")


def _listed(text: str | None, read: Callable[[str], N], fits: Callable[[N], bool], wanted: str) -> list[N] | None:
    if text is None:
        return None
    try:
        found = [read(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(map(fits, found)):
        raise typer.BadParameter(f"must be {wanted}")
    if len(set(found)) != len(found):
        raise typer.BadParameter("names a value twice")
    return found
