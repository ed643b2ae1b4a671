"""USearch's exact search over a matrix, inner product."""

import numpy as np
import usearch
from usearch.index import MetricKind, search


class System:
    def __init__(self, job):
        self.users, self.items = np.load(job["users"], mmap_mode="r"), np.load(job["items"])
        self.k, self.threads = job["k"], job["threads"]
        self.notes = {"usearch": usearch.__version__}

    def top(self, users):
        matches = search(self.items, self.users[users], self.k, MetricKind.IP, exact=True, threads=self.threads)
        shape = (len(users), self.k)
        return np.reshape(matches.keys, shape).astype(np.int64), 1 - np.reshape(matches.distances, shape)
