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
        rankings = self.model.rank([Query(int(user), self.k) for user in users])
        self.paths.update(ranking.path for ranking in rankings)
        return np.stack([ranking.item_rows for ranking in rankings]), np.stack([ranking.scores for ranking in rankings])
