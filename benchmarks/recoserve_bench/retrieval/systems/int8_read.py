"""The limit: the time to read as many bytes as an int8 copy of the items holds, once, by the fastest of several ways.

Nothing that looks at every item in int8 can answer a single query faster. The way is chosen at load; its name is in the notes.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np


class System:
    def __init__(self, job):
        size = np.load(job["items"], mmap_mode="r").size
        floats = np.ones(-(-size // 4), np.float32)
        whole = floats[: len(floats) // 4096 * 4096] if len(floats) >= 4096 else floats[: len(floats) // 64 * 64]
        words = floats[: len(floats) // 2 * 2].view(np.uint64)
        parts = np.array_split(words, job["threads"])
        threads = ThreadPoolExecutor(job["threads"])
        narrow, wide = whole.reshape(-1, 64), whole.reshape(-1, min(len(whole), 4096))
        ways = {
            "float32 matrix-vector product, rows of 64": lambda: narrow @ narrow[0],
            "float32 matrix-vector product, rows of 4096": lambda: wide @ wide[0],
            "uint64 maximum": lambda: list(threads.map(np.max, parts)),
            "uint64 bitwise or": lambda: list(threads.map(np.bitwise_or.reduce, parts)),
        }
        name = self._fastest(ways)
        self.read, self.notes = ways[name], {"way": name}

    def top(self, _users):
        self.read()

    @staticmethod
    def _fastest(ways, rounds=20):
        times = {name: [] for name in ways}
        for _ in range(rounds):
            for name, read in ways.items():
                began = time.perf_counter()
                read()
                times[name].append(time.perf_counter() - began)
        return min(ways, key=lambda name: np.median(times[name]))
