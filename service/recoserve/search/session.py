"""Wraps ONNX Runtime in a small interface: providers, threads, run. No other module of the service imports it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import BundleInvalid, ProviderUnavailable

# From 1.29 on the runtime's wheels send telemetry to their maker. The library reads this variable only when it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class Session(Protocol):
    """One loaded graph. `run` may be called from any thread; its arrays have the dtypes and shapes of `bundle.contract`."""

    provider: str  # cpu | cuda
    inputs: frozenset[str]
    outputs: frozenset[str]

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]: ...


def resolve_provider(requested: str) -> str:
    """The provider that graphs will run on, `cpu` or `cuda`, where `auto`, `cpu` or `cuda` is requested.

    Raises ProviderUnavailable for `cuda` where this installation has no CUDA.
    """
    has_cuda = CUDA in onnxruntime.get_available_providers()
    if requested == "cuda" and not has_cuda:
        raise ProviderUnavailable(
            "the provider cuda is chosen, but this ONNX Runtime has no CUDA: "
            "install onnxruntime-gpu in place of onnxruntime, or choose --provider cpu (or RECOSERVE_PROVIDER=cpu)"
        )
    return "cuda" if has_cuda and requested != "cpu" else "cpu"


class OnnxSession:
    """A graph in ONNX Runtime, its large tensors memory-mapped from the bundle's file, not copied.

    `prepack` copies them into the order in which matrix products read them: that takes more memory, and makes an int8 scan faster.
    Raises BundleInvalid where the runtime refuses the file, ProviderUnavailable where it falls back from CUDA to the CPU.
    """

    def __init__(self, path: Path, provider: str, threads: int, prepack: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A pool that spins after its session has run takes the cores from the next session.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 4  # fatal errors only: others are raised as exceptions too
        options.add_session_config_entry("session.disable_prepacking", "0" if prepack else "1")
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=[CUDA, CPU] if provider == "cuda" else [CPU])
        except Exception as error:  # noqa: BLE001  # the runtime raises a dozen classes without a common base of its own
            raise BundleInvalid([f"{path.name}: ONNX Runtime refuses it: {_first_line(error)}"]) from None
        if provider == "cuda" and CUDA not in self._session.get_providers():
            raise ProviderUnavailable(
                "the provider cuda is chosen, but ONNX Runtime could not start it: "
                "check the driver and the device, or choose --provider cpu (or RECOSERVE_PROVIDER=cpu)"
            )
        self._session.disable_fallback()  # otherwise a run that fails on CUDA is repeated on the CPU
        self.provider = provider
        self.inputs = frozenset(node.name for node in self._session.get_inputs())
        self.outputs = frozenset(node.name for node in self._session.get_outputs())

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        arrays: list[NDArray[Any]] = self._session.run(list(outputs), dict(feeds))
        return arrays


def int64(values: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """`values` as a contiguous int64 array, which graphs take for rows and counts."""
    return np.ascontiguousarray(values, np.int64)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
