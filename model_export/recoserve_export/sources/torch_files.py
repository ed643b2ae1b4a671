"""Loads PyTorch's files, and refuses those that run code when they are loaded unless they are trusted.

The suffix doesn't say what a file is: a `.pt` may be a state_dict, a pickled module or a TorchScript archive. To load it and see
would be too late: a pickle is a program that runs while it is read, a TorchScript archive holds code, and torch.export.load
unpickles the sample inputs beside its program (such a file was seen running a shell command). So the kind is recognised by the
names in the zip archive, which runs nothing. Only a file that is neither kind of program goes to torch.load, with `weights_only`,
which unpickles nothing but tensors and plain containers.
"""

import os
import re
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recoserve.errors import ExportRefused
from recoserve_export.sources.safetensors_file import read_safetensors

TORCHSCRIPT, PROGRAM = "a TorchScript archive", "a program of torch.export"
ENTRIES = {  # folders and files by which an archive is recognised
    TORCHSCRIPT: {"code", "constants.pkl"},
    PROGRAM: {"archive_format", "models", "sample_inputs", "serialized_exported_program.json", "serialized_state_dict.pt"},
}
CHECKPOINT_KEYS = ("state_dict", "model_state_dict")


def read(torch: Any, path: Path, trust: bool) -> Any:
    """The file's weights by name, or the module that it holds.

    Raises ExportRefused for a file that runs code, unless `trust`, and for one that can't be loaded.
    """
    if path.suffix == ".safetensors":
        return {name: torch.from_numpy(values.copy()) for name, values in read_safetensors(path).items()}
    kind = archive_kind(path)
    if kind is None:
        return _unpickled(torch, path, trust)
    if not trust:
        raise _untrusted(path, f"it is {kind}")
    if kind == TORCHSCRIPT:
        return _loaded(path, lambda: torch.jit.load(path, map_location="cpu"))
    return _loaded(path, lambda: torch.export.load(path).module())


def archive_kind(path: Path) -> str | None:
    """TORCHSCRIPT or PROGRAM, by the names in a zip archive; None for any other file."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name for entry in archive.namelist() for name in entry.split("/")}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    return next((kind for kind, entries in ENTRIES.items() if entries & names), None)


def _unpickled(torch: Any, path: Path, trust: bool) -> Any:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises errors of many types for damaged files, such as struct.error
        if trust:
            return _loaded(path, lambda: torch.load(path, map_location="cpu", weights_only=False))
        pickled_class = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it holds a pickled {pickled_class[1]}" if pickled_class else "it is damaged, or holds more than tensors"
        raise _untrusted(path, f"it is not a plain state_dict: {reason}") from error
    return state


def weights(torch: Any, path: Path, state: Any) -> dict[str, Any]:
    """The tensors of a state_dict, or of a checkpoint that holds one, by name; raises ExportRefused for anything else."""
    for key in CHECKPOINT_KEYS:
        state = state[key] if isinstance(state, dict) and isinstance(state.get(key), dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ExportRefused(f"{path}: not a state_dict (names to tensors): save model.state_dict()")
    tensors = dict(state)
    torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(tensors, "module.")  # the prefix of a parallel wrapper
    return tensors


def _loaded(path: Path, load: Callable[[], Any]) -> Any:
    find_modules_here()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, on which only the file's maker can act
            return load()
    except Exception as error:  # the file's own code may fail in any way
        raise ExportRefused(f"{path} can't be loaded: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from error


def find_modules_here() -> None:
    """Let modules be imported from the current folder, where people keep their models' code; console scripts don't search it."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def _untrusted(path: Path, reason: str) -> ExportRefused:
    return ExportRefused(
        f"{path}: refused, since {reason}. Loading it would run code from the file. Save model.state_dict() instead and pass "
        "--architecture, or pass --trust if you know who made the file"
    )
