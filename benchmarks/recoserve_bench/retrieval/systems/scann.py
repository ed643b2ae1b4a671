"""ScaNN, configured as its own documentation does; one query by `search`, several by `search_batched_parallel`.

Options: `leaves` (0: no tree) and `reorder` (0: brute force).
"""

from importlib.metadata import version

import numpy as np
import scann


class System:
    def __init__(self, job):
        self.users, items = np.load(job["users"], mmap_mode="r"), np.load(job["items"])
        builder = scann.scann_ops_pybind.builder(items, job["k"], "dot_product").set_n_training_threads(job["threads"])
        if job["leaves"]:
            builder = builder.tree(num_leaves=job["leaves"], num_leaves_to_search=100, training_sample_size=250_000)
        if job["reorder"]:
            builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(job["reorder"])
        else:
            builder = builder.score_brute_force()
        self.searcher = builder.build()
        self.searcher.set_num_threads(job["threads"])
        self.notes = {"scann": version("scann"), "leaves": job["leaves"], "reorder": job["reorder"]}

    def top(self, users):
        if len(users) == 1:
            rows, scores = self.searcher.search(self.users[users[0]])
            return rows[None], scores[None]
        return self.searcher.search_batched_parallel(self.users[users])
