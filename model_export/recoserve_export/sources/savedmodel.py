"""Reads a TensorFlow SavedModel: processes of a Python that has TensorFlow convert it to ONNX and compute its own scores."""

import os
import subprocess
import sys
import weakref
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from recoserve.bundle.arrays import Float64Array
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Arrays, GraphSource, Network
from recoserve_export.sources import onnx
from recoserve_export.sources.tables import file_digest

PYTHON_VARIABLE = "TENSORFLOW_PYTHON"
GRAPH_NAME, OPSET = "saved_model.pb", 18
WORKER_PATH = Path(__file__).with_name("savedmodel_worker.py")
# For TensorFlow: few messages, no GPU, and no oneDNN, which adds float32 numbers in another order.
TENSORFLOW_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"}
TIMEOUT_SECONDS = 1800
OUTSIDE_OPERATORS = ("WriteFile", "ReadFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc")
INSTALL = (
    "a SavedModel needs TensorFlow, in a Python of its own: python3 -m venv tf && tf/bin/pip install tensorflow tf2onnx, "
    f"then set {PYTHON_VARIABLE}=tf/bin/python"
)


def load(path: Path, user: str | None = None, item: str | None = None, features: Collection[str] = ()) -> GraphSource:
    """A SavedModel's `serving_default` signature as a source; its inputs are found by name, as in `onnx.load`.

    TensorFlow runs in processes of the interpreter that the environment variable TENSORFLOW_PYTHON names, or of this one if it has
    TensorFlow and tf2onnx. Raises ExportRefused without such an interpreter, for a model that can't be converted, as `onnx.load`
    does, and, before anything loads it, for a graph that reads or writes files or calls Python.
    """
    _check_operators(path)
    python = _interpreter()
    with TemporaryDirectory() as folder:
        onnx_path = Path(folder) / f"{path.resolve().name}.onnx"
        _convert(python, path, onnx_path)
        source = onnx.load(onnx_path, user, item, features)
    worker = _ScoringProcess(python, path, source.network)
    versions = {"tf2onnx": source.versions["producer"].removeprefix("tf2onnx ").split(" ")[0], "tensorflow": worker.version}
    return replace(source, framework="tensorflow", versions=versions, scores=worker.scores, digest=_digest(path))


def _check_operators(path: Path) -> None:
    try:
        body = (path / GRAPH_NAME).read_bytes()
    except OSError as error:
        raise ExportRefused(f"{path / GRAPH_NAME}: {error.strerror}") from None
    # The graph is searched as bytes: to parse it takes TensorFlow, and to load it may already run what it holds. A node's operator
    # is field 2 of its message: the tag 0x12, the length of the name, the name.
    operators = [name for name in OUTSIDE_OPERATORS if b"\x12" + bytes([len(name)]) + name.encode() in body]
    if operators:
        raise ExportRefused(
            f"{path}: refused, since its graph reaches outside of the model ({', '.join(operators)}): "
            "loading it may run code or open files, and no score needs that"
        )


def _interpreter() -> str:
    """The path of a Python with TensorFlow and tf2onnx; raises ExportRefused, with the way to install them, if there is none."""
    python = os.environ.get(PYTHON_VARIABLE)
    if python:
        if not Path(python).is_file():
            raise ExportRefused(f"{PYTHON_VARIABLE}: {python} is no file. {INSTALL}")
        return str(Path(python).absolute())
    if find_spec("tensorflow") and find_spec("tf2onnx"):
        return sys.executable
    raise ExportRefused(INSTALL)


def _environment() -> dict[str, str]:
    """The environment variables for the other interpreter, without those that set up Python and Keras here."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "KERAS"))} | TENSORFLOW_ENVIRONMENT


def _convert(python: str, path: Path, target: Path) -> None:
    command = [
        python,
        "-m",
        "tf2onnx.convert",
        "--saved-model",
        str(path.resolve()),
        "--output",
        str(target),
        "--opset",
        str(OPSET),
    ]
    succeeded, reason = _run(command, target.parent)
    if succeeded and target.is_file():
        return
    if "No module named" in reason:
        raise ExportRefused(f"{python}: {reason}. {INSTALL}")
    raise ExportRefused(f"{path}: tf2onnx can't convert it: {reason}")


def _run(command: list[str], folder: Path) -> tuple[bool, str]:
    """True if a command succeeded, and the last line that it wrote to stderr."""
    try:
        process = subprocess.run(  # noqa: S603  # the interpreter that the user names
            command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False, env=_environment(), cwd=folder
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return not process.returncode, _last_line(process.stderr)


def _last_line(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason given"


def _digest(path: Path) -> str:
    """SHA-256 over the digests and names of all files, in order of their names."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file_digest(file)}  {file.relative_to(path).as_posix()}\n" for file in files]
    return sha256("".join(lines).encode()).hexdigest()


class _ScoringProcess:
    """A process that keeps the model loaded and scores the pairs that it is sent; it ends when this object is deleted."""

    def __init__(self, python: str, path: Path, network: Network) -> None:
        self._inputs = network.inputs
        folder = TemporaryDirectory()
        self._folder = Path(folder.name)
        # The program is passed as text: run as a file, it would import keras.py and onnx.py beside it instead of the packages.
        command = [python, "-c", WORKER_PATH.read_text(), str(path.resolve())]
        with open(self._folder / "log", "wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  # the interpreter that the user names
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=_environment(), cwd=self._folder
            )
        weakref.finalize(self, _end, self._process, folder)
        self.version = self._receive()

    def scores(self, values: Arrays) -> Float64Array:
        """The signature's own scores, float64 [P], for values by input name; raises ExportRefused if it fails."""
        inputs_path, scores_path = self._folder / "inputs.npz", self._folder / "scores.npy"
        batches = {name: declared.batch(values[name]) for name, declared in self._inputs.items()}
        np.savez(inputs_path, allow_pickle=False, **batches)
        with suppress(BrokenPipeError):  # the process has ended; `_receive` says why
            self._send(f"{inputs_path}\t{scores_path}\n")
        reply = self._receive()
        if reply != "done":
            raise ExportRefused(f"the SavedModel's own signature fails: {reply.removeprefix('failed: ')}")
        scores: Float64Array = np.load(scores_path, allow_pickle=False).astype(np.float64).reshape(-1)
        return scores

    def _send(self, line: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()

    def _receive(self) -> str:
        """The next line from the process; raises ExportRefused, with its last words on stderr, if it has ended."""
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        if not line:
            self._process.wait()
            raise ExportRefused(f"TensorFlow ended: {_last_line((self._folder / 'log').read_text(errors='replace'))}")
        return line.decode().strip()


def _end(process: subprocess.Popen[bytes], folder: TemporaryDirectory[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
    folder.cleanup()
