"""Files of PyTorch's: which of them hold tensors alone, and which run code when they are loaded."""

import os
import re
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recoserve.errors import ExportRefused
from recoserve_export.sources.tables import read_safetensors

TORCHSCRIPT, PROGRAM = "a TorchScript archive", "a program of torch.export"
MARKS = {  # folders and files in the archive that tell its kind
    TORCHSCRIPT: {"code", "constants.pkl"},
    PROGRAM: {"archive_format", "models", "sample_inputs", "serialized_exported_program.json", "serialized_state_dict.pt"},
}
WRAPPERS = ("state_dict", "model_state_dict")


def read(torch: Any, path: Path, trust: bool) -> Any:
    """The file's weights by name, or the module that it holds; raises ExportRefused.

    What runs code is recognised without being loaded, and loaded only with `trust`.
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
    """Which archive of code the names of a zip file's entries say that it is; None for any other file."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = {part for name in archive.namelist() for part in name.split("/")}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    return next((kind for kind, marks in MARKS.items() if marks & parts), None)


def _unpickled(torch: Any, path: Path, trust: bool) -> Any:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in ways of torch's own choosing, struct.error among them
        if trust:
            return _loaded(path, lambda: torch.load(path, map_location="cpu", weights_only=False))
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it holds a pickled {named[1]}" if named else "it is damaged, or holds more than tensors"
        raise _untrusted(path, f"it is not a plain state_dict: {reason}") from error
    return state


def weights(torch: Any, path: Path, state: Any) -> dict[str, Any]:
    """Tensors by name; a checkpoint that keeps them under a name of its own is opened. Raises ExportRefused."""
    for wrapper in WRAPPERS:
        state = state[wrapper] if isinstance(state, dict) and isinstance(state.get(wrapper), dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ExportRefused(f"{path}: not a state_dict (names to tensors): save model.state_dict()")
    found = dict(state)
    torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(found, "module.")
    return found


def _loaded(path: Path, load: Callable[[], Any]) -> Any:
    find_modules_here()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript's, which the file's maker would have to hear
            return load()
    except Exception as error:  # the file's own code may fail in any way
        raise ExportRefused(f"{path} can't be loaded: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from error


def find_modules_here() -> None:
    """A console script starts without the folder it was started in, where people keep the code of their models."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def _untrusted(path: Path, what: str) -> ExportRefused:
    return ExportRefused(
        f"{path}: refused, since {what}. Loading it would run code from the file. Save model.state_dict() instead and pass "
        "--architecture, or pass --trust if you know who made the file"
    )
