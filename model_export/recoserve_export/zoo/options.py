"""The options of `recoserve train` and the values that they accept; each check raises typer.BadParameter."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from recoserve.bundle.manifest import NAME

MAX_VALUE = 1e6  # of a rate, a weight or a temperature: far beyond any use, far below what float32 holds
MAX_DIM = 1 << 16

N = TypeVar("N", int, float)


class ArchitectureName(StrEnum):
    """The values of `--architecture`."""

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
    """The values of `--similarity`."""

    COSINE = "cosine"
    DOT = "dot"


def positive(value: float | None) -> float | None:
    """`value`, if it is above 0."""
    if value is not None and not 0 < value <= MAX_VALUE:
        raise typer.BadParameter(f"must be a number above 0, {MAX_VALUE:g} at most")
    return value


def not_negative(value: float | None) -> float | None:
    """`value`, if it is 0 or above."""
    if value is not None and not 0 <= value <= MAX_VALUE:
        raise typer.BadParameter(f"must be a number from 0 to {MAX_VALUE:g}")
    return value


def between_0_and_1(value: float) -> float:
    """`value`, if it lies between 0 and 1, neither included."""
    if not 0 < value < 1:
        raise typer.BadParameter("must lie between 0 and 1, neither included")
    return value


def plain_name(value: str | None) -> str | None:
    """`value`, if it fits a path and a label of a metric."""
    if value is not None and not NAME.fullmatch(value):
        raise typer.BadParameter("must be 1 to 128 characters of A-Za-z0-9._-, the first a letter or digit")
    return value


def dimensions(text: str | None) -> list[int] | None:
    """The dimensions in a text like 8,16,32, which must differ; None for None."""
    return _parsed_list(text, int, lambda dim: 1 <= dim <= MAX_DIM, f"whole numbers from 1 to {MAX_DIM}, like 8,16,32")


def weights(text: str | None) -> list[float] | None:
    """The weights of regularisation in a text like 0,1e-4,1e-3, which must differ; None for None."""
    return _parsed_list(text, float, lambda weight: 0 <= weight <= MAX_VALUE, f"numbers from 0 to {MAX_VALUE:g}, like 0,1e-4,1e-3")


def _parsed_list(text: str | None, parse: Callable[[str], N], fits: Callable[[N], bool], expected: str) -> list[N] | None:
    if text is None:
        return None
    try:
        values = [parse(entry) for entry in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(map(fits, values)):
        raise typer.BadParameter(f"must be {expected}")
    if len(set(values)) != len(values):
        raise typer.BadParameter("has a value twice")
    return values


PER_ARCHITECTURE = "depends on the architecture"

BundleOption = Annotated[
    Path | None, typer.Option("--out", "-o", help="The bundle to write; must not exist. Optional with --dims or --l2s.")
]
DimOption = Annotated[int | None, typer.Option(min=1, max=MAX_DIM, help="Length of each vector.", show_default=PER_ARCHITECTURE)]
EpochsOption = Annotated[int | None, typer.Option(min=1, help="How often to go through all users.", show_default=PER_ARCHITECTURE)]
LearningRateOption = Annotated[
    float | None,
    typer.Option(callback=positive, help="Adam's rate at the start; it falls linearly to 0.", show_default=PER_ARCHITECTURE),
]
L2Option = Annotated[
    float | None,
    typer.Option(
        "--l2",
        callback=not_negative,
        help="Regularisation: the weight of the vectors' squared length in the loss.",
        show_default=PER_ARCHITECTURE,
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(
        callback=positive,
        help="Divides scores before the softmax: the lower, the more the hardest items count.",
        show_default=PER_ARCHITECTURE,
    ),
]
BatchSizeOption = Annotated[int | None, typer.Option(min=1, help="Users in each step of training.", show_default=PER_ARCHITECTURE)]
HoldoutOption = Annotated[
    float, typer.Option(callback=between_0_and_1, help="Share of each user's interactions, the last ones, to hold out.")
]
DotSimilarityOption = Annotated[SimilarityName | None, typer.Option(help="The score of keras-dot and torch-dot; default: cosine.")]
GenreColumnOption = Annotated[
    str, typer.Option(help="Column of the items file that has the genres, for the genre-mlp architectures.")
]
DimsOption = Annotated[
    str | None, typer.Option(help="Train at each of these dimensions, like 8,16,32,64, and compare the results.")
]
L2sOption = Annotated[
    str | None, typer.Option("--l2s", help="Train with each of these --l2 weights, like 0,1e-4,1e-3, and compare the results.")
]
BundleNameOption = Annotated[
    str | None, typer.Option(callback=plain_name, help="The bundle's name; default: from a path like NAME/VERSION.")
]
BundleVersionOption = Annotated[
    str | None, typer.Option(callback=plain_name, help="The bundle's version; default: from a path like NAME/VERSION, or 1.")
]
SaveModelOption = Annotated[
    Path | None, typer.Option(help="Also save the model itself: a .keras file, or a PyTorch state_dict as .pt.")
]
