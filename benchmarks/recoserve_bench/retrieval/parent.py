"""The parent's end of a system under test: starts its process, asks, waits."""

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
    """A system: its file in `systems/`, and options for it."""

    file: str
    options: dict[str, Any] = field(default_factory=dict)


class Process:
    """A running system. It computes only while a call waits for it, so that idle ones disturb nobody.

    Raises SystemFailed where it isn't installed or ends.
    """

    def __init__(self, system: System, peers: Path, job: dict[str, Any]) -> None:
        self.system = system
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        threads = str(job["threads"])
        environment = machine.environment(own=not system.peer)
        self._process = subprocess.Popen(
            [system.python(peers), "-P", HERE / "child.py", HERE / "systems" / system.file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            text=True,
        )
        self.loaded = self._ask("load", {**job, **system.options})

    def run(self, batch: int, seconds: float) -> list[float]:
        """The seconds that each call with `batch` users took, for about `seconds`."""
        times: list[float] = self._ask("run", {"batch": batch, "seconds": seconds})["times"]
        return times

    def answers(self, users: int, batch: int, to: Path) -> dict[str, int]:
        """Write the answers for the first `users` users to `to`, an .npz file; returns how many left by each path."""
        paths: dict[str, int] = self._ask("answers", {"users": users, "batch": batch, "to": str(to)})["paths"]
        return paths

    def _ask(self, command: str, job: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin and stdout  # noqa: S101  # both are pipes
        try:
            stdin.write(json.dumps({command: job}) + "\n")
            stdin.flush()
            reply = stdout.readline()
        except BrokenPipeError:
            reply = ""
        if not reply:
            raise SystemFailed(f"{self.system.name} ended during {command}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(reply)
        return answer

    def _last_words(self) -> str:
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
