"""The memory that loading and ranking take: `python -m recoserve_bench.scorers.memory BUNDLE` prints it as JSON.

Loading runs the golden sample, and the runtime keeps the memory that it took for that. So the figure covers loading and ranking
together, but not the tables, which are mapped from the bundle's file.
"""

import json
import sys
import threading
from pathlib import Path

from recoserve.scheduling.loader import load_model
from recoserve.search.query import Query
from recoserve_bench.soak import memory_mib

SAMPLE_SECONDS = 1e-3


class Peak:
    """The largest memory of this process that no file backs, MiB, sampled from now until `end`."""

    def __init__(self) -> None:
        self._mib = self.start = memory_mib("self")[1]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> float:
        """The peak, beyond what there was at the start."""
        self._stopped.set()
        self._thread.join()
        return self._mib - self.start

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            self._mib = max(self._mib, memory_mib("self")[1])


def main() -> None:
    """Load a bundle, rank for one user, and print the memory that it took."""
    peak = Peak()
    load_model(Path(sys.argv[1])).rank([Query(1, 10)])
    print(json.dumps({"anonymous_mib": peak.end()}))


if __name__ == "__main__":
    main()
