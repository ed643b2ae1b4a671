"""PyTorch's files: which of them hold tensors alone, and which run code when they are loaded.

The suffix doesn't say which: a `.pt` may be a state_dict, a pickled module or a TorchScript archive. To load a file in order to see
what it is would be too late: a pickle is a program that runs while it is read, a TorchScript archive holds code, and
torch.export.load unpickles the sample inputs beside its program (such a file was seen running a shell command). So the kind is read
off the names in the zip archive, which runs nothing; only what is neither kind of program goes to torch.load, with `weights_only`,
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
ENTRIES = {  # folders and files of an archive by which it is known
    TORCHSCRIPT: {"code", "constants.pkl"},
    PROGRAM: {"archive_format", "models", "sample_inputs", "serialized_exported_program.json", "serialized_state_dict.pt"},
}
CHECKPOINT_KEYS = ("state_dict", "model_state_dict")


def read(torch: Any, path: Path, trust: bool) -> Any:
    """The file's weights by name, or the module that it holds; raises ExportRefused for a file that runs code, unless `trust`."""
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
    """TORCHSCRIPT or PROGRAM, as the names of a zip archive's entries say; None for any other file."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name for entry in archive.namelist() for name in entry.split("/")}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    return next((kind for kind, entries in ENTRIES.items() if entries & names), None)


def _unpickled(torch: Any, path: Path, trust: bool) -> Any:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in ways of torch's own choosing, struct.error among them
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
    torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(tensors, "module.")  # a parallel wrapper's
    return tensors


def _loaded(path: Path, load: Callable[[], Any]) -> Any:
    find_modules_here()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript's, which only the file's maker can heed
            return load()
    except Exception as error:  # the file's own code may fail in any way
        raise ExportRefused(f"{path} can't be loaded: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from error


def find_modules_here() -> None:
    """Let modules be imported from the current folder, where people keep the code of their models; console scripts leave it out."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def _untrusted(path: Path, reason: str) -> ExportRefused:
    return ExportRefused(
        f"{path}: refused, since {reason}. Loading it would run code from the file. Save model.state_dict() instead and pass "
        "--architecture, or pass --trust if you know who made the file"
    )
