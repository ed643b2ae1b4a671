"""Opens a live model, a file or a pair of tables as a source, and imports only the framework that this one needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recoserve.errors import ExportRefused
from recoserve_export.graph.dot_score import DotSource
from recoserve_export.graph.network import GraphSource

TABLE_SUFFIXES = (".safetensors",)
KERAS_SUFFIXES = (".keras", ".h5")
TORCH_SUFFIXES = (".pt", ".pth", ".pt2")
ONNX_SUFFIXES = (".onnx",)
WEIGHT_SUFFIXES = (".pt", ".pth", ".safetensors")  # files of weights, for a module that other code builds
SAVED_MODEL = "saved_model.pb"  # a folder with this file is a SavedModel of TensorFlow

Source = DotSource | GraphSource


@dataclass(frozen=True)
class OpenOptions:
    """What a caller says about a model, beside the model itself.

    `user` and `item` name the inputs that take ids. `architecture`, package.module:callable, builds the module of a file of
    weights. `features` names the inputs that are features of the item, each with its number of values per item if they come as a
    table, else None. With `trust`, a file may run code of its own.
    """

    user: str | None = None
    item: str | None = None
    architecture: str | None = None
    features: Mapping[str, int | None] = field(default_factory=dict)
    trust: bool = False


def open_source(model: Any, options: OpenOptions) -> Source:
    """A live model, the model at a path, or a pair of arrays or paths, as a source; raises ExportRefused for anything else."""
    if isinstance(model, str | Path):
        return _open_path(Path(model), options)
    if options.architecture:
        raise ExportRefused("architecture goes with a file of weights (.pt, .pth, .safetensors), which holds no model of its own")
    if isinstance(model, tuple | list) and len(model) == 2:
        if options.user or options.item:
            raise ExportRefused("two tables have no inputs to name: leave out user_input and item_input")
        return _open_tables(*model)
    packages = {cls.__module__.split(".")[0] for cls in type(model).__mro__}
    if "keras" in packages:  # first: on the torch backend a keras.Model is an nn.Module too
        from recoserve_export.sources import keras

        return keras.from_model(model, options.user, options.item, options.features)
    if "torch" in packages:
        from recoserve_export.sources import torch

        return torch.from_module(model, options.user, options.item, options.features)
    raise ExportRefused(
        f"can't export a {type(model).__name__}: give a keras.Model, a torch.nn.Module, a path, or (user table, item table)"
    )


def _open_path(path: Path, options: OpenOptions) -> Source:
    if path.is_dir() and (path / SAVED_MODEL).is_file():
        from recoserve_export.sources import savedmodel

        return savedmodel.load(path, options.user, options.item, options.features)
    if not path.is_file():
        raise ExportRefused(f"{path}: no such file")
    if options.architecture and path.suffix not in WEIGHT_SUFFIXES:
        raise ExportRefused(
            f"{path}: architecture goes with a file of weights ({', '.join(WEIGHT_SUFFIXES)}), which holds no model of its own"
        )
    return _open_file(path, options)


def _open_file(path: Path, options: OpenOptions) -> Source:
    if path.suffix in TABLE_SUFFIXES and not options.architecture:
        from recoserve_export.sources import tables

        return tables.from_safetensors(path, options.user, options.item)
    if path.suffix in KERAS_SUFFIXES:
        from recoserve_export.sources import keras

        return keras.load(path, options.user, options.item, options.features, options.trust)
    if path.suffix in TORCH_SUFFIXES or options.architecture:
        from recoserve_export.sources import torch

        return torch.load(path, options.architecture, options.user, options.item, options.features, options.trust)
    if path.suffix in ONNX_SUFFIXES:
        from recoserve_export.sources import onnx

        return onnx.load(path, options.user, options.item, options.features)
    known = ", ".join((*KERAS_SUFFIXES, *TORCH_SUFFIXES, *TABLE_SUFFIXES, *ONNX_SUFFIXES))
    raise ExportRefused(
        f"{path}: can't export a {path.suffix or 'file without suffix'}; known are {known}, a SavedModel, and two .npy tables"
    )


def _open_tables(users: Any, items: Any) -> DotSource:
    from recoserve_export.sources import tables

    if isinstance(users, str | Path) and isinstance(items, str | Path):
        return tables.from_npy(Path(users), Path(items))
    return tables.from_arrays(users, items)
