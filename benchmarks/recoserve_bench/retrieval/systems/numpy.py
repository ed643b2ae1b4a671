"""A few lines of NumPy: a product, argpartition, and a sort of the k."""

import numpy as np


class System:
    def __init__(self, job):
        self.users, self.items, self.k = np.load(job["users"], mmap_mode="r"), np.load(job["items"]), job["k"]

    def top(self, users):
        scores = self.users[users] @ self.items.T
        best = np.argpartition(scores, -self.k, axis=1)[:, -self.k :]
        best_scores = np.take_along_axis(scores, best, axis=1)
        order = np.argsort(-best_scores, axis=1)
        return np.take_along_axis(best, order, axis=1), np.take_along_axis(best_scores, order, axis=1)
