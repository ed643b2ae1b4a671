"""Whoever takes part, and the Python to run it with."""

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
    """Something to measure; `peer` names the environment it needs, None is our own."""

    name: str
    peer: str | None = None

    def installed(self, peers: Path) -> bool:
        return self.peer is None or interpreter(peers, self.peer) is not None

    def python(self, peers: Path) -> Path:
        """The interpreter to run it with. Raises SystemFailed where the peer isn't installed."""
        found = interpreter(peers, self.peer) if self.peer else Path(sys.executable)
        if not found:
            raise SystemFailed(f"{self.name} is not installed: python -m recoserve_bench.peers.install --only {self.peer}")
        return found


C = TypeVar("C", bound=Contender)


def chosen(everyone: Sequence[C], always: set[str], against: Sequence[str], peers: Path) -> tuple[list[C], list[str]]:
    """Those who always take part and those named, by their own name or their peer's; and the names of those not installed.

    Raises BadParameter for a name that nobody has.
    """
    others = [one for one in everyone if one.name not in always]
    names = {name for one in others for name in (one.name, one.peer) if name}
    if unknown := set(against) - names:
        raise typer.BadParameter(f"no such system: {', '.join(sorted(unknown))}; there are {', '.join(sorted(names))}")
    wanted = [one for one in everyone if one.name in always or {one.name, one.peer} & set(against)]
    return [one for one in wanted if one.installed(peers)], [one.name for one in wanted if not one.installed(peers)]
