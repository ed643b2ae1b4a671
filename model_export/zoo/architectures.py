"""The reference architectures by name; each framework is imported when its architecture is asked for, not before."""

import importlib
from pathlib import Path
from typing import Any, Protocol, cast

from service.errors import ExportRefused


class Architecture(Protocol):
    """What the modules `keras_dot` and `torch_dot` offer."""

    SUFFIX: str  # of a saved model

    def build(self, users: int, items: int, dim: int, *, normalize: bool = True, seed: int = 0) -> Any:
        """A fresh model that scores (user row, item row) pairs."""

    def tables(self, model: Any) -> tuple[Any, Any]:
        """The model's own torch Parameters: users [U, dim] and items [N, dim], float32."""

    def save(self, model: Any, path: Path) -> None:
        """Write the model in its framework's usual form."""


MODULES = {"keras-dot": "model_export.zoo.keras_dot", "torch-dot": "model_export.zoo.torch_dot"}
SUFFIXES = {"keras-dot": ".keras", "torch-dot": ".pt"}


def load(name: str) -> Architecture:
    """The architecture called `name`; ExportRefused where its framework is not installed."""
    try:
        for needed in ("onnx", "torch"):  # the exporter's too, so that nothing is trained in vain
            importlib.import_module(needed)
        return cast(Architecture, importlib.import_module(MODULES[name]))
    except ModuleNotFoundError as error:
        raise ExportRefused(f"{name} needs {error.name}, which is not installed; pip install 'recoserve[train]'") from None
