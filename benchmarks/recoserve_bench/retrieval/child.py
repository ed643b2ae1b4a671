"""One system under test in a process, and perhaps a Python, of its own: JSON lines in on stdin, JSON lines out on stdout.

    {"load": {...}}                                     -> {"load_seconds": s, "resident_mib": m, "notes": {...}}
    {"run": {"batch": b, "seconds": s}}                 -> {"times": [seconds of each call]}
    {"rank": {"users": n, "batch": b, "path": path}}    -> {"paths": {...}}; rows and scores are in the file `path`

    python -P child.py systems/NAME.py

A system is a file with a class `System`, made from the fields of `load`. Its method `top(users)` takes user rows, int64 [B], and
returns item rows, int64 [B, k], and scores, float32 [B, k]. It may have `notes`, a dict to print, and `paths`, a Counter of the
retrieval paths that users took. This file and the systems need NumPy alone.
"""

import json
import os
import runpy
import sys
import time

import numpy as np


class Child:
    """The commands of the process; each method takes the fields of one command and returns those of the reply."""

    def __init__(self, path):
        self.path, self.next_row = path, 0

    def load(self, job):
        """Make the system, and rank for one user."""
        self.table_rows = job["user_rows"]
        began = time.perf_counter()
        self.system = runpy.run_path(self.path)["System"](job)
        self.system.top(self._next_users(1))
        return {
            "load_seconds": time.perf_counter() - began,
            "resident_mib": resident_mib(),
            "notes": getattr(self.system, "notes", {}),
        }

    def run(self, job):
        """Call after call for `seconds`, at least three, after one that isn't timed."""
        times = []
        self.system.top(self._next_users(job["batch"]))
        end = time.perf_counter() + job["seconds"]
        while len(times) < 3 or time.perf_counter() < end:
            users = self._next_users(job["batch"])
            began = time.perf_counter()
            self.system.top(users)
            times.append(time.perf_counter() - began)
        return {"times": times}

    def rank(self, job):
        """Rank for the first users of the table, and write rows and scores to a file."""
        paths = getattr(self.system, "paths", {})
        paths.clear()
        starts = range(0, job["users"], job["batch"])
        batches = [self.system.top(np.arange(start, min(start + job["batch"], job["users"]))) for start in starts]
        rows, scores = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
        np.savez(job["path"], rows=rows.astype(np.int64), scores=scores.astype(np.float32))
        return {"paths": paths}

    def _next_users(self, count):
        """The next rows of the table, from its start again after its end: other users in each call."""
        users = np.arange(self.next_row, self.next_row + count) % self.table_rows
        self.next_row = (self.next_row + count) % self.table_rows
        return users


def resident_mib():
    """The resident memory of this process, MiB (Linux)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main():
    """Reply to the commands on stdin until it is closed."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not stand among the replies
    child = Child(sys.argv[1])
    for line in sys.stdin:
        ((command, job),) = json.loads(line).items()
        replies.write(json.dumps(getattr(child, command)(job)) + "\n")


if __name__ == "__main__":
    main()
