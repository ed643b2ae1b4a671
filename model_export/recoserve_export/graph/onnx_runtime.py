"""ONNX Runtime, imported when a graph is first run, and the exceptions by which it refuses a graph or its inputs."""

import os
from types import ModuleType

# The runtime has no public names for its exceptions. These stand in a private module.
PRIVATE_EXCEPTIONS = ("Fail", "RuntimeException", "InvalidArgument", "InvalidGraph", "NotImplemented")


def load() -> ModuleType:
    """The `onnxruntime` module, its telemetry switched off."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library is loaded
    import onnxruntime

    module: ModuleType = onnxruntime
    return module


def refusals(runtime: ModuleType) -> tuple[type[Exception], ...]:
    """The exceptions of `runtime` that refuse a graph or its inputs.

    In a version that has moved them it is every Exception: an export still ends in one line, and a defect of ours would, too.
    """
    private = getattr(runtime.capi, "onnxruntime_pybind11_state", None)
    exceptions = tuple(getattr(private, name) for name in PRIVATE_EXCEPTIONS if hasattr(private, name))
    return exceptions if len(exceptions) == len(PRIVATE_EXCEPTIONS) else (Exception,)
