"""What answering costs in memory: `python -m recoserve_bench.scorers.memory BUNDLE` prints it as JSON.

A load answers the golden sample, and the runtime keeps what it took for that: so the figure is all that loading and answering
took together, but for the tables, which are mapped from the bundle's file and not counted.
"""

import json
import sys
import threading
from pathlib import Path

from recoserve.scheduling.loader import load_model
from recoserve.search.query import Query
from recoserve_bench.soak import memory_mib

EVERY = 1e-3  # seconds


class Peak:
    """The most memory that this process has held and no file backs, in MiB, from now until `end`."""

    def __init__(self) -> None:
        self._mib = self.start = memory_mib("self")[1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> float:
        """The peak, beyond what there was at the start."""
        self._ended.set()
        self._thread.join()
        return self._mib - self.start

    def _watch(self) -> None:
        while not self._ended.wait(EVERY):
            self._mib = max(self._mib, memory_mib("self")[1])


def main() -> None:
    """Load, answer one user, and say what that took."""
    peak = Peak()
    load_model(Path(sys.argv[1])).rank([Query(1, 10)])
    print(json.dumps({"anonymous_mib": peak.end()}))


if __name__ == "__main__":
    main()
