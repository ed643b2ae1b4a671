"""The reference architectures by name; each framework is imported when its architecture is asked for, not before.

The dot models are two tables and are trained as such. Every other one is a scorer of pairs: its module builds it, and the kit of
its framework does the rest.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from recoserve.errors import ExportRefused

Logits = Callable[[Mapping[str, Any]], Any]


class Architecture(Protocol):
    """What the modules `keras_dot` and `torch_dot` offer."""

    SUFFIX: str  # of a saved model

    def build(self, users: int, items: int, dim: int, *, normalize: bool = True, seed: int = 0) -> Any:
        """A fresh model that scores (user row, item row) pairs."""

    def tables(self, model: Any) -> tuple[Any, Any]:
        """The model's own torch Parameters: users [U, dim] and items [N, dim], float32."""

    def save(self, model: Any, path: Path) -> None:
        """Write the model in its framework's usual form."""


class Builder(Protocol):
    """What the module of any other architecture offers."""

    def build(self, users: int, items: int, dim: int, *, seed: int = 0) -> Any:
        """A fresh model with int64 inputs `user` and `item` and one score a row.

        Those of `WITH_GENRES` also take `genres`, a count, and the model an input `genre`.
        """


class Kit(Protocol):
    """What `keras_kit` and `torch_kit` do with any such model."""

    def logits(self, model: Any, training: bool) -> Logits:
        """Its score before the sigmoid, if it ends in one: int64 tensors [P] by input name -> float32 [P]."""

    def parameters(self, model: Any) -> list[Any]:
        """The torch Parameters to train."""

    def embeddings(self, model: Any) -> list[tuple[str, Any]]:
        """Of each embedding, the input that looks rows up in it, and its Parameter."""

    def save(self, model: Any, path: Path) -> None:
        """Write the model in its framework's usual form."""


@dataclass(frozen=True)
class Scorer:
    """An architecture that scores pairs: how to build it, and what works on what was built."""

    build: Callable[..., Any]
    kit: Kit


DOT = ("keras-dot", "torch-dot")
MODULES = {
    "keras-dot": "recoserve_export.zoo.architectures.keras_dot",
    "torch-dot": "recoserve_export.zoo.architectures.torch_dot",
    "keras-biased-dot": "recoserve_export.zoo.architectures.keras_biased_dot",
    "torch-biased-dot": "recoserve_export.zoo.architectures.torch_biased_dot",
    "keras-mlp": "recoserve_export.zoo.architectures.keras_mlp",
    "torch-mlp": "recoserve_export.zoo.architectures.torch_mlp",
    "keras-genre-mlp": "recoserve_export.zoo.architectures.keras_mlp",
    "torch-genre-mlp": "recoserve_export.zoo.architectures.torch_mlp",
    "keras-two-tower": "recoserve_export.zoo.architectures.keras_two_tower",
    "torch-two-tower": "recoserve_export.zoo.architectures.torch_two_tower",
    "keras-neumf": "recoserve_export.zoo.architectures.keras_neumf",
    "torch-neumf": "recoserve_export.zoo.architectures.torch_neumf",
}
SUFFIXES = {name: ".keras" if name.startswith("keras") else ".pt" for name in MODULES}
WITH_GENRES = ("keras-genre-mlp", "torch-genre-mlp")


def load(name: str) -> Architecture:
    """The dot model called `name`; ExportRefused where its framework is not installed."""
    return cast(Architecture, _module(name, MODULES[name]))


def load_scorer(name: str) -> Scorer:
    """Any other architecture, by name; ExportRefused where its framework is not installed."""
    builder = cast(Builder, _module(name, MODULES[name]))
    return Scorer(builder.build, load_kit(name))


def load_kit(name: str) -> Kit:
    """What works on the models of the framework that `name` starts with."""
    return cast(Kit, _module(name, f"recoserve_export.zoo.{name.partition('-')[0]}_kit"))


def _module(name: str, module: str) -> Any:
    try:
        for needed in ("onnx", "torch"):  # the exporter's too, so that nothing is trained in vain
            importlib.import_module(needed)
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ExportRefused(f"{name} needs {error.name}, which is not installed; pip install 'recoserve[train]'") from None
