"""One system under test in a process, and perhaps a Python, of its own: JSON lines in on stdin, JSON lines out on stdout.

    {"load": {...}}                              -> {"load_seconds": s, "resident_mib": m, "notes": {...}}
    {"run": {"batch": b, "seconds": s}}          -> {"times": [seconds of each call]}
    {"answers": {"users": n, "batch": b, "to": path}}   -> {"paths": {...}}, and rows and scores in path

    python -P child.py systems/NAME.py

A system is a file with a class `System`: made from what `load` brings, it has `top(users)`, which answers int64 [B] user rows with
int64 [B, k] item rows and float32 [B, k] scores. It may have `notes`, a dict to print, and `paths`, a Counter of the ways in which
rows were answered. This file and the systems need NumPy alone.
"""

import json
import os
import runpy
import sys
import time

import numpy as np


class Child:
    def __init__(self, path):
        self.path, self.at = path, 0

    def load(self, job):
        self.table_rows = job["user_rows"]
        began = time.perf_counter()
        self.system = runpy.run_path(self.path)["System"](job)
        self.system.top(self.next_users(1))
        return {
            "load_seconds": time.perf_counter() - began,
            "resident_mib": resident_mib(),
            "notes": getattr(self.system, "notes", {}),
        }

    def run(self, job):
        """Call after call for the time given, at least three, after one that isn't timed."""
        times = []
        self.system.top(self.next_users(job["batch"]))
        end = time.perf_counter() + job["seconds"]
        while len(times) < 3 or time.perf_counter() < end:
            users = self.next_users(job["batch"])
            began = time.perf_counter()
            self.system.top(users)
            times.append(time.perf_counter() - began)
        return {"times": times}

    def answers(self, job):
        paths = getattr(self.system, "paths", {})
        paths.clear()
        starts = range(0, job["users"], job["batch"])
        parts = [self.system.top(np.arange(at, min(at + job["batch"], job["users"]))) for at in starts]
        rows, scores = (np.concatenate(side) for side in zip(*parts, strict=True))
        np.savez(job["to"], rows=rows.astype(np.int64), scores=scores.astype(np.float32))
        return {"paths": paths}

    def next_users(self, count):
        """Other users in each call, around the table."""
        users = np.arange(self.at, self.at + count) % self.table_rows
        self.at = (self.at + count) % self.table_rows
        return users


def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main():
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not stand among the replies
    child = Child(sys.argv[1])
    for line in sys.stdin:
        ((command, job),) = json.loads(line).items()
        replies.write(json.dumps(getattr(child, command)(job)) + "\n")


if __name__ == "__main__":
    main()
