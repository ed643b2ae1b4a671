"""A TensorFlow SavedModel: converted to ONNX, and asked for its own scores, by a process that has TensorFlow."""

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

PYTHON = "TENSORFLOW_PYTHON"
GRAPH, OPSET = "saved_model.pb", 18
WORKER = Path(__file__).with_name("savedmodel_worker.py")
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"}
SECONDS = 1800
OUTSIDE = ("WriteFile", "ReadFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc")  # what no score needs
NEEDED = (
    "a SavedModel needs TensorFlow, in a Python of its own: python3 -m venv tf && tf/bin/pip install tensorflow tf2onnx, "
    f"then set {PYTHON}=tf/bin/python"
)


def load(path: Path, user: str | None = None, item: str | None = None, features: Collection[str] = ()) -> GraphSource:
    """A SavedModel's `serving_default` signature, its inputs bound by name; raises ExportRefused.

    TensorFlow runs in processes of the interpreter that TENSORFLOW_PYTHON names, or of this one where it has TensorFlow
    and tf2onnx. A graph that reads or writes files or calls Python is refused before anything loads it.
    """
    _check_operators(path)
    python = _interpreter()
    with TemporaryDirectory() as folder:
        converted = Path(folder) / f"{path.resolve().name}.onnx"
        _convert(python, path, converted)
        source = onnx.load(converted, user, item, features)
    worker = _Worker(python, path, source.network)
    versions = {"tf2onnx": source.versions["producer"].removeprefix("tf2onnx ").split(" ")[0], "tensorflow": worker.version}
    return replace(source, framework="tensorflow", versions=versions, scores=worker.scores, digest=_digest(path))


def _check_operators(path: Path) -> None:
    try:
        body = (path / GRAPH).read_bytes()
    except OSError as error:
        raise ExportRefused(f"{path / GRAPH}: {error.strerror}") from None
    # A node's operator is field 2 of its message: its tag, its length, its name.
    found = [name for name in OUTSIDE if b"\x12" + bytes([len(name)]) + name.encode() in body]
    if found:
        raise ExportRefused(
            f"{path}: refused, since its graph reaches outside of the model ({', '.join(found)}): "
            "loading it may run code or touch files, and no score needs that"
        )


def _interpreter() -> str:
    named = os.environ.get(PYTHON)
    if named:
        if not Path(named).is_file():
            raise ExportRefused(f"{PYTHON}: {named} is no file. {NEEDED}")
        return str(Path(named).absolute())
    if find_spec("tensorflow") and find_spec("tf2onnx"):
        return sys.executable
    raise ExportRefused(NEEDED)


def _environment() -> dict[str, str]:
    """Of the other interpreter: nothing of this one's own settings or packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "KERAS"))} | QUIET


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
    done, reason = _finished(command, target.parent)
    if done and target.is_file():
        return
    if "No module named" in reason:
        raise ExportRefused(f"{python}: {reason}. {NEEDED}")
    raise ExportRefused(f"{path}: tf2onnx can't convert it: {reason}")


def _finished(command: list[str], folder: Path) -> tuple[bool, str]:
    """Whether a program ended well, and its last word on what went wrong."""
    try:
        ran = subprocess.run(  # noqa: S603  # the interpreter that the user names
            command, capture_output=True, text=True, timeout=SECONDS, check=False, env=_environment(), cwd=folder
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return not ran.returncode, _last_line(ran.stderr)


def _last_line(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason given"


def _digest(path: Path) -> str:
    """SHA-256 over every file's name and own digest, in order of their names."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file_digest(file)}  {file.relative_to(path).as_posix()}\n" for file in files]
    return sha256("".join(lines).encode()).hexdigest()


class _Worker:
    """A process that has the model loaded, and scores what it is given; it ends with this object."""

    def __init__(self, python: str, path: Path, network: Network) -> None:
        self._inputs = network.inputs
        kept = TemporaryDirectory()
        self._folder = Path(kept.name)
        # The program is handed over as text: run as a file, its neighbours here would stand before keras and onnx.
        command = [python, "-c", WORKER.read_text(), str(path.resolve())]
        with open(self._folder / "log", "wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  # the interpreter that the user names
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=_environment(), cwd=self._folder
            )
        weakref.finalize(self, _end, self._process, kept)
        self.version = self._answer()

    def scores(self, values: Arrays) -> Float64Array:
        """The signature's own scores, float64 [P]; raises ExportRefused where it fails."""
        given, wanted = self._folder / "given.npz", self._folder / "wanted.npy"
        np.savez(given, allow_pickle=False, **{name: each.batch(values[name]) for name, each in self._inputs.items()})
        with suppress(BrokenPipeError):  # it has ended; the answer tells why
            self._ask(f"{given}\t{wanted}\n")
        answer = self._answer()
        if answer != "done":
            raise ExportRefused(f"the SavedModel's own signature fails: {answer.removeprefix('failed: ')}")
        found: Float64Array = np.load(wanted, allow_pickle=False).astype(np.float64).reshape(-1)
        return found

    def _ask(self, line: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()

    def _answer(self) -> str:
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
