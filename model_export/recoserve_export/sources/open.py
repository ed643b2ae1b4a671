"""Which source a live model, a file or a pair of tables is; its framework is imported only now."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recoserve.errors import ExportRefused
from recoserve_export.graph.dot_score import DotSource
from recoserve_export.graph.network import GraphSource

TABLE_SUFFIXES, KERAS_SUFFIXES, TORCH_SUFFIXES, ONNX_SUFFIXES = (
    (".safetensors",),
    (".keras", ".h5"),
    (".pt", ".pth", ".pt2"),
    (".onnx",),
)
SAVED_MODEL = "saved_model.pb"  # what a folder of TensorFlow's holds
BUILT = (".pt", ".pth", ".safetensors")  # files of weights, for a module that other code builds

Source = DotSource | GraphSource


@dataclass(frozen=True)
class Opening:
    """How a model is to be opened.

    `user` and `item` name inputs, `architecture` the code that builds a state_dict's module; `features` has the inputs that are
    features of the item, and how many values each has where they are a table. With `trust` a file may run code of its own.
    """

    user: str | None = None
    item: str | None = None
    architecture: str | None = None
    features: Mapping[str, int | None] = field(default_factory=dict)
    trust: bool = False


def open_source(model: Any, how: Opening) -> Source:
    """The source that a live model, a path or a pair of arrays is, its framework imported only now; raises ExportRefused."""
    if isinstance(model, str | Path):
        return _open_path(Path(model), how)
    if how.architecture:
        raise ExportRefused("architecture goes with a file of weights (.pt, .pth, .safetensors), which holds no model of its own")
    if isinstance(model, tuple | list) and len(model) == 2:
        if how.user or how.item:
            raise ExportRefused("two tables have no inputs to name: leave out user_input and item_input")
        return _open_tables(*model)
    families = {cls.__module__.split(".")[0] for cls in type(model).__mro__}
    if "keras" in families:  # first: on the torch backend a keras.Model is an nn.Module too
        from recoserve_export.sources import keras

        return keras.from_model(model, how.user, how.item, how.features)
    if "torch" in families:
        from recoserve_export.sources import torch

        return torch.from_module(model, how.user, how.item, how.features)
    raise ExportRefused(
        f"can't export a {type(model).__name__}: give a keras.Model, a torch.nn.Module, a path, or (user table, item table)"
    )


def _open_path(path: Path, how: Opening) -> Source:
    if path.is_dir() and (path / SAVED_MODEL).is_file():
        from recoserve_export.sources import savedmodel

        return savedmodel.load(path, how.user, how.item, how.features)
    if not path.is_file():
        raise ExportRefused(f"{path}: no such file")
    if how.architecture and path.suffix not in BUILT:
        raise ExportRefused(
            f"{path}: architecture goes with a file of weights ({', '.join(BUILT)}), which holds no model of its own"
        )
    return _open_file(path, how)


def _open_file(path: Path, how: Opening) -> Source:
    if path.suffix in TABLE_SUFFIXES and not how.architecture:
        from recoserve_export.sources import tables

        return tables.from_safetensors(path, how.user, how.item)
    if path.suffix in KERAS_SUFFIXES:
        from recoserve_export.sources import keras

        return keras.load(path, how.user, how.item, how.features, how.trust)
    if path.suffix in TORCH_SUFFIXES or how.architecture:
        from recoserve_export.sources import torch

        return torch.load(path, how.architecture, how.user, how.item, how.features, how.trust)
    if path.suffix in ONNX_SUFFIXES:
        from recoserve_export.sources import onnx

        return onnx.load(path, how.user, how.item, how.features)
    known = ", ".join((*KERAS_SUFFIXES, *TORCH_SUFFIXES, *TABLE_SUFFIXES, *ONNX_SUFFIXES))
    raise ExportRefused(
        f"{path}: can't export a {path.suffix or 'file without suffix'}; known are {known}, a SavedModel, and two .npy tables"
    )


def _open_tables(users: Any, items: Any) -> DotSource:
    from recoserve_export.sources import tables

    if isinstance(users, str | Path) and isinstance(items, str | Path):
        return tables.from_npy(Path(users), Path(items))
    return tables.from_arrays(users, items)
