"""What a few lines of NumPy do: a product, argpartition, and a sort of the k."""

import numpy as np


class System:
    def __init__(self, job):
        self.users, self.items, self.k = np.load(job["users"], mmap_mode="r"), np.load(job["items"]), job["k"]

    def top(self, users):
        scores = self.users[users] @ self.items.T
        best = np.argpartition(scores, -self.k, axis=1)[:, -self.k :]
        found = np.take_along_axis(scores, best, axis=1)
        order = np.argsort(-found, axis=1)
        return np.take_along_axis(best, order, axis=1), np.take_along_axis(found, order, axis=1)
