"""The reference architectures by name; a framework is imported only when one of its architectures is loaded.

A dot model is trained as its two tables. Every other architecture is a scorer of pairs: its module builds the model, and the kit of
its framework does everything else with it.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from recoserve.errors import ExportRefused

# From row numbers, int64 tensors [P] by input name, to scores before the sigmoid, float32 [P].
Logits = Callable[[Mapping[str, Any]], Any]


class DotArchitecture(Protocol):
    """What the modules `keras_dot` and `torch_dot` define."""

    def build(self, user_count: int, item_count: int, dim: int, *, normalize: bool = True, seed: int = 0) -> Any:
        """A fresh model that scores (user row, item row) pairs."""

    def tables(self, model: Any) -> tuple[Any, Any]:
        """The model's own torch Parameters: users [U, dim] and items [N, dim], float32."""


class PairArchitecture(Protocol):
    """What the module of any other architecture defines."""

    def build(self, user_count: int, item_count: int, dim: int, *, seed: int = 0) -> Any:
        """A fresh model with int64 inputs `user` and `item` and one score a row.

        For the architectures of `WITH_GENRES`, `build` also takes `genre_count`, and the model has an input `genre`.
        """


class Kit(Protocol):
    """What the modules `keras_kit` and `torch_kit` define, for any model of their framework."""

    def logits(self, model: Any, training: bool) -> Logits:
        """A function that gives the model's score before its sigmoid, if it ends in one; with `training`, as in a training step."""

    def parameters(self, model: Any) -> list[Any]:
        """The torch Parameters to train."""

    def embeddings(self, model: Any) -> list[tuple[str, Any]]:
        """For each embedding, the name of the input that indexes its rows, and its Parameter."""

    def save(self, model: Any, path: Path) -> None:
        """Write the model to a file: a .keras file, or a state_dict of PyTorch."""


@dataclass(frozen=True)
class PairScorerKit:
    """How to build a scorer of pairs, and the kit for the models that it builds."""

    build: Callable[..., Any]
    kit: Kit


DOT = ("keras-dot", "torch-dot")
WITH_GENRES = ("keras-genre-mlp", "torch-genre-mlp")
ROOM = "recoserve_export.zoo.architectures"
MODULES = {
    "keras-dot": f"{ROOM}.keras_dot",
    "torch-dot": f"{ROOM}.torch_dot",
    "keras-biased-dot": f"{ROOM}.keras_biased_dot",
    "torch-biased-dot": f"{ROOM}.torch_biased_dot",
    "keras-mlp": f"{ROOM}.keras_mlp",
    "torch-mlp": f"{ROOM}.torch_mlp",
    "keras-genre-mlp": f"{ROOM}.keras_mlp",
    "torch-genre-mlp": f"{ROOM}.torch_mlp",
    "keras-two-tower": f"{ROOM}.keras_two_tower",
    "torch-two-tower": f"{ROOM}.torch_two_tower",
    "keras-neumf": f"{ROOM}.keras_neumf",
    "torch-neumf": f"{ROOM}.torch_neumf",
}
SUFFIXES = {name: ".keras" if name.startswith("keras") else ".pt" for name in MODULES}  # of the files of saved models


def load_dot(name: str) -> DotArchitecture:
    """The dot model called `name`; raises ExportRefused where its framework is not installed."""
    return cast(DotArchitecture, _import(name, MODULES[name]))


def load_scorer(name: str) -> PairScorerKit:
    """Any other architecture, by name; raises ExportRefused where its framework is not installed."""
    architecture = cast(PairArchitecture, _import(name, MODULES[name]))
    return PairScorerKit(architecture.build, load_kit(name))


def load_kit(name: str) -> Kit:
    """The kit of the framework that `name` starts with; raises ExportRefused where it is not installed."""
    return cast(Kit, _import(name, f"{ROOM}.{name.partition('-')[0]}_kit"))


def _import(name: str, module: str) -> Any:
    try:
        for package in ("onnx", "torch"):  # onnx is for the export: without it the model would be trained in vain
            importlib.import_module(package)
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ExportRefused(f"{name} needs {error.name}, which is not installed; pip install 'recoserve[train]'") from None
