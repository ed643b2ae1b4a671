"""The parent's end of a system under test: starts its process, sends it commands, reads its replies."""

import json
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from recoserve_bench import machine
from recoserve_bench.contender import Contender
from recoserve_bench.errors import SystemFailed

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class System(Contender):
    """A system to measure: its file in `systems/`, and the options that it takes."""

    file: str
    options: dict[str, Any] = field(default_factory=dict)


class Process:
    """A system in a process of its own. It computes only while a command waits for its reply, so an idle one slows nobody down.

    Raises SystemFailed where the system isn't installed, or ends.
    """

    def __init__(self, system: System, peers: Path, job: dict[str, Any]) -> None:
        self.system = system
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        threads = str(job["threads"])
        environment = machine.environment(system.peer)
        self._process = subprocess.Popen(
            [system.python(peers), "-P", HERE / "child.py", HERE / "systems" / system.file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            text=True,
        )
        self.loaded = self._call("load", {**job, **system.options})

    def run(self, batch: int, seconds: float) -> list[float]:
        """Rank `batch` users again and again for about `seconds`; the seconds that each call took."""
        times: list[float] = self._call("run", {"batch": batch, "seconds": seconds})["times"]
        return times

    def rank(self, users: int, batch: int, path: Path) -> dict[str, int]:
        """Write rows and scores for the first `users` users to `path`, an .npz file; returns how many took each retrieval path."""
        paths: dict[str, int] = self._call("rank", {"users": users, "batch": batch, "path": str(path)})["paths"]
        return paths

    def _call(self, command: str, job: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin and stdout  # noqa: S101  # both are pipes
        try:
            stdin.write(json.dumps({command: job}) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise SystemFailed(f"{self.system.name} ended during {command}: {self._last_line()}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _last_line(self) -> str:
        self._process.wait(timeout=30)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()
