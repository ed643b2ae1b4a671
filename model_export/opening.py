"""Which source a live model, a file or a pair of tables is; its framework is imported only now."""

from pathlib import Path
from typing import Any

from model_export.formula import DotSource
from service.errors import ExportRefused

TABLE_SUFFIXES, KERAS_SUFFIXES, TORCH_SUFFIXES = (".safetensors",), (".keras", ".h5"), (".pt", ".pth")


def open_source(model: Any, user: str | None = None, item: str | None = None, architecture: str | None = None) -> DotSource:
    """The source that a live model, a path or a pair of arrays is, its framework imported only now; raises ExportRefused."""
    if isinstance(model, str | Path):
        return _open_file(Path(model), user, item, architecture)
    if architecture:
        raise ExportRefused("architecture goes with a .pt or .pth file, which holds no model of its own")
    if isinstance(model, tuple | list) and len(model) == 2:
        if user or item:
            raise ExportRefused("two tables have no inputs to name: leave out user_input and item_input")
        return _open_tables(*model)
    families = {cls.__module__.split(".")[0] for cls in type(model).__mro__}
    if "keras" in families:  # first: on the torch backend a keras.Model is an nn.Module too
        from model_export.sources import keras

        return keras.from_model(model, user, item)
    if "torch" in families:
        from model_export.sources import torch

        return torch.from_module(model, user, item)
    raise ExportRefused(
        f"can't export a {type(model).__name__}: give a keras.Model, a torch.nn.Module, a path, or (user table, item table)"
    )


def _open_file(path: Path, user: str | None, item: str | None, architecture: str | None) -> DotSource:
    if not path.is_file():
        raise ExportRefused(f"{path}: no such file")
    if architecture and path.suffix not in TORCH_SUFFIXES:
        raise ExportRefused(f"{path}: architecture goes with a .pt or .pth file, which holds no model of its own")
    if path.suffix in TABLE_SUFFIXES:
        from model_export.sources import tables

        return tables.from_safetensors(path, user, item)
    if path.suffix in KERAS_SUFFIXES:
        from model_export.sources import keras

        return keras.load(path, user, item)
    if path.suffix in TORCH_SUFFIXES:
        from model_export.sources import torch

        return torch.load(path, architecture, user, item)
    known = ", ".join((*KERAS_SUFFIXES, *TORCH_SUFFIXES, *TABLE_SUFFIXES))
    raise ExportRefused(f"{path}: can't export a {path.suffix or 'file without suffix'}; known are {known}, and two .npy tables")


def _open_tables(users: Any, items: Any) -> DotSource:
    from model_export.sources import tables

    if isinstance(users, str | Path) and isinstance(items, str | Path):
        return tables.from_npy(Path(users), Path(items))
    return tables.from_arrays(users, items)
