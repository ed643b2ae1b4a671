"""FAISS: IndexFlatIP, which is exact, or what the index factory makes of a description, with its vectors refined afterwards.

Options: `factory`, a description for `index_factory` where {} is half the dimension (left out: a flat index); `k_factor`, how many
times k candidates are scored again with the vectors themselves.
"""

import faiss
import numpy as np


class System:
    def __init__(self, job):
        faiss.omp_set_num_threads(job["threads"])
        self.users, self.k = np.load(job["users"], mmap_mode="r"), job["k"]
        items = np.load(job["items"])
        kind = job["factory"].format(job["dim"] // 2) if "factory" in job else "IndexFlatIP"
        if "factory" in job:
            self.index = faiss.index_factory(job["dim"], kind, faiss.METRIC_INNER_PRODUCT)
            self.index.train(items)
            self.index.k_factor = job["k_factor"]
        else:
            self.index = faiss.IndexFlatIP(job["dim"])
        self.index.add(items)
        self.notes = {"faiss": faiss.__version__, "index": kind}

    def top(self, users):
        scores, rows = self.index.search(self.users[users], self.k)
        return rows, scores
