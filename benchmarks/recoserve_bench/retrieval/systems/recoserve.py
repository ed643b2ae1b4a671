"""This product, without HTTP: user rows in, ranked items out."""

from collections import Counter
from pathlib import Path

import numpy as np

from recoserve.scheduling.loader import load_model
from recoserve.search.query import Query


class System:
    def __init__(self, job):
        self.k, self.paths = job["k"], Counter()
        self.model = load_model(Path(job["bundle"]), "cpu", job["threads"], job["retrieval"])

    def top(self, users):
        ranked = self.model.rank([Query(int(user), self.k) for user in users])
        self.paths.update(one.path for one in ranked)
        return np.stack([one.item_rows for one in ranked]), np.stack([one.scores for one in ranked])
