"""Small models whose rankings are known by reasoning: users of one parity like the items of the same parity."""

import os

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "torch")

USERS, ITEMS, WIDTH = 7, 9, 2


def parity_tables(users=USERS, items=ITEMS):
    """Even rows point along one axis, odd rows along the other; item lengths differ, so dot and cosine rank differently."""
    axes = np.eye(WIDTH, dtype=np.float32)
    return 2 * axes[np.arange(users) % 2], axes[np.arange(items) % 2] * (1 + np.arange(items, dtype=np.float32))[:, None]


def random_tables(users=40, items=60, width=8, scale=1.0, seed=0):
    """A user table and an item table of normally distributed float32."""
    rng = np.random.default_rng(seed)
    return tuple((rng.normal(size=(rows, width)) * scale).astype(np.float32) for rows in (users, items))


def keras_model(users, items, *, normalize=False, squash=False, axes=1, names=("user_id", "movie_id"), through=None):
    """Two Embeddings joined by Dot; `through(keras, tensor)` stands between the Dot and the output."""
    import keras

    inputs = [keras.Input((1,), name=name) for name in names]
    sides = []
    for tensor, table, label in zip(inputs, (users, items), ("first", "second"), strict=True):
        layer = keras.layers.Embedding(*table.shape, name=f"{label}_table")
        looked_up = layer(tensor)
        layer.set_weights([table])
        sides.append(keras.layers.Flatten()(looked_up) if axes == 1 else looked_up)
    score = keras.layers.Dot(axes, normalize=normalize)(sides)
    score = keras.layers.Flatten()(score) if axes == 2 else score
    score = keras.layers.Activation("sigmoid")(score) if squash else score
    return keras.Model(inputs, through(keras, score) if through else score)


def torch_model(users, items, score=None, **attributes):
    """Two nn.Embedding; `score(module, user vectors, item vectors)` in place of the plain dot product."""
    import torch

    class Pair(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.people = torch.nn.Embedding.from_pretrained(torch.from_numpy(users.copy()), freeze=False)
            self.things = torch.nn.Embedding.from_pretrained(torch.from_numpy(items.copy()), freeze=False)
            for name, part in attributes.items():
                setattr(self, name, part)

        def forward(self, user, item):
            user_vectors, item_vectors = self.people(user), self.things(item)
            return score(self, user_vectors, item_vectors) if score else (user_vectors * item_vectors).sum(-1)

    return Pair()


def unit_rows(table):
    """Each row divided by its length; a zero row stays zero."""
    return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-300)


def brute_force(users, items, k, *, cosine=False):
    """Float64 scores of every user with every item, and each user's k best items, the lower row first among equals."""
    user_vectors, item_vectors = users.astype(np.float64), items.astype(np.float64)
    if cosine:
        user_vectors, item_vectors = (unit_rows(table) for table in (user_vectors, item_vectors))
    scores = user_vectors @ item_vectors.T
    return scores, np.argsort(-scores, axis=1, kind="stable")[:, :k]
