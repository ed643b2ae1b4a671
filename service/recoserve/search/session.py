"""ONNX Runtime, and the only place that imports it: providers, threads, run."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import BundleInvalid, ProviderUnavailable

# The runtime's own wheels report to their maker from 1.29 on; this is read when the library is loaded, not later.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class Session(Protocol):
    """One loaded graph. `run` may be called from any thread, with arrays of the dtypes in `bundle.contract`."""

    provider: str  # cpu | cuda
    inputs: frozenset[str]
    outputs: frozenset[str]

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]: ...


def resolve_provider(wanted: str) -> str:
    """`auto`, `cpu` or `cuda` -> `cpu` or `cuda`.

    Raises ProviderUnavailable where CUDA is asked for and this installation has none.
    """
    available = CUDA in onnxruntime.get_available_providers()
    if wanted == "cuda" and not available:
        raise ProviderUnavailable(
            "provider cuda was asked for, but this ONNX Runtime has no CUDA: "
            "put onnxruntime-gpu in place of onnxruntime, or set RECOSERVE_PROVIDER=cpu"
        )
    return "cuda" if available and wanted != "cpu" else "cpu"


class OnnxSession:
    """A graph in ONNX Runtime, its large tensors mapped from the bundle's file rather than copied.

    `prepack` copies them into the order that products read: more memory, and a faster int8 scan.
    Raises BundleInvalid where the runtime refuses the file, ProviderUnavailable where it falls back from CUDA.
    """

    def __init__(self, path: Path, provider: str, threads: int, prepack: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A pool that spins after its session has run takes the cores from the next session.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 4
        options.add_session_config_entry("session.disable_prepacking", "0" if prepack else "1")
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=[CUDA, CPU] if provider == "cuda" else [CPU])
        except Exception as error:  # noqa: BLE001  # the runtime raises a dozen classes without a common base of its own
            raise BundleInvalid([f"{path.name}: ONNX Runtime refuses it: {_first_line(error)}"]) from None
        if provider == "cuda" and CUDA not in self._session.get_providers():
            raise ProviderUnavailable(
                "provider cuda was asked for, but ONNX Runtime could not start it; is there a driver and a device?"
            )
        self._session.disable_fallback()
        self.provider = provider
        self.inputs = frozenset(node.name for node in self._session.get_inputs())
        self.outputs = frozenset(node.name for node in self._session.get_outputs())

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        found: list[NDArray[Any]] = self._session.run(list(outputs), dict(feeds))
        return found


def int64(values: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Contiguous int64, as every graph input is."""
    return np.ascontiguousarray(values, np.int64)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
