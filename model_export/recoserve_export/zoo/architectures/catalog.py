"""The reference architectures by name; a framework is imported only when an architecture of its own is loaded.

A dot model is two tables and is trained as such. Every other architecture is a scorer of pairs: its module builds the model, and
its framework's kit does everything else with it.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from recoserve.errors import ExportRefused

# Row numbers, int64 tensors [P] by input name -> scores before the sigmoid, float32 [P].
Logits = Callable[[Mapping[str, Any]], Any]


class DotArchitecture(Protocol):
    """The modules `keras_dot` and `torch_dot`."""

    def build(self, users: int, items: int, dim: int, *, normalize: bool = True, seed: int = 0) -> Any:
        """A fresh model that scores (user row, item row) pairs."""

    def tables(self, model: Any) -> tuple[Any, Any]:
        """The model's own torch Parameters: users [U, dim] and items [N, dim], float32."""


class PairArchitecture(Protocol):
    """The module of any other architecture."""

    def build(self, users: int, items: int, dim: int, *, seed: int = 0) -> Any:
        """A fresh model with int64 inputs `user` and `item` and one score a row.

        Those of `WITH_GENRES` also take `genres`, a count, and their models an input `genre`.
        """


class Kit(Protocol):
    """The modules `keras_kit` and `torch_kit`: what they do with any model of their framework."""

    def logits(self, model: Any, training: bool) -> Logits:
        """The model's score before the sigmoid, if it ends in one."""

    def parameters(self, model: Any) -> list[Any]:
        """The torch Parameters to train."""

    def embeddings(self, model: Any) -> list[tuple[str, Any]]:
        """Each embedding's Parameter, with the input that indexes its rows."""

    def save(self, model: Any, path: Path) -> None:
        """Write the model in its framework's usual form."""


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
SUFFIXES = {name: ".keras" if name.startswith("keras") else ".pt" for name in MODULES}  # of saved models


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
        for needed in ("onnx", "torch"):  # onnx is the exporter's: without it the model would be trained in vain
            importlib.import_module(needed)
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ExportRefused(f"{name} needs {error.name}, which is not installed; pip install 'recoserve[train]'") from None
