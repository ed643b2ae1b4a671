"""What takes part in a comparison: a system or a server, and the Python that runs it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import typer

from recoserve_bench.errors import SystemFailed
from recoserve_bench.peers.install import interpreter


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Something to measure; `peer` names the environment that it needs, None is this one."""

    name: str
    peer: str | None = None

    @property
    def names(self) -> set[str]:
        """What a command line may call it: its own name, or that of its peer."""
        return {self.name, self.peer or self.name}

    def is_installed(self, peers: Path) -> bool:
        """Whether there is a Python to run it with."""
        return self.peer is None or interpreter(peers, self.peer) is not None

    def python(self, peers: Path) -> Path:
        """The interpreter to run it with. Raises SystemFailed where the peer isn't installed."""
        path = interpreter(peers, self.peer) if self.peer else Path(sys.executable)
        if not path:
            raise SystemFailed(f"{self.name} is not installed: python -m recoserve_bench.peers.install --only {self.peer}")
        return path


C = TypeVar("C", bound=Contender)


def select(contenders: Sequence[C], always: set[str], against: Sequence[str], peers: Path) -> tuple[list[C], list[str]]:
    """Those that always take part and those named in `against`, as far as they are installed; and the names of the others.

    Raises BadParameter for a name that no contender has.
    """
    known = sorted({name for contender in contenders if contender.name not in always for name in contender.names})
    if unknown := set(against) - set(known):
        raise typer.BadParameter(f"no such system: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    selected = [contender for contender in contenders if contender.name in always or contender.names & set(against)]
    missing = [contender.name for contender in selected if not contender.is_installed(peers)]
    return [contender for contender in selected if contender.name not in missing], missing
