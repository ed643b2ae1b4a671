"""The reference dot model in Keras, on the torch backend: Embedding, Flatten and one Dot."""

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras

from recoserve.errors import ExportRefused

INITIAL_STD = 0.1


def build(user_count: int, item_count: int, dim: int, *, normalize: bool = True, seed: int = 0) -> keras.Model:
    """A fresh functional model: inputs `user` and `item`, int64 [B, 1] rows -> output `score`, float32 [B, 1].

    The weights are drawn from N(0, 0.1²) by `seed` alone. Raises ExportRefused where Keras runs on another backend.
    """
    if keras.backend.backend() != "torch":
        raise ExportRefused(f"Keras runs on {keras.backend.backend()} here; set KERAS_BACKEND=torch")
    user, user_vector = _side("user", user_count, dim, 2 * seed)
    item, item_vector = _side("item", item_count, dim, 2 * seed + 1)
    score = keras.layers.Dot(axes=1, normalize=normalize, name="score")([user_vector, item_vector])
    return keras.Model(inputs=[user, item], outputs=score, name="keras_dot")


def _side(name: str, rows: int, dim: int, seed: int) -> tuple[Any, Any]:
    row = keras.Input(shape=(1,), dtype="int64", name=name)
    initializer = keras.initializers.RandomNormal(stddev=INITIAL_STD, seed=seed)
    table = keras.layers.Embedding(rows, dim, embeddings_initializer=initializer, name=f"{name}_embedding")
    return row, keras.layers.Flatten(name=f"{name}_vector")(table(row))


def tables(model: keras.Model) -> tuple[Any, Any]:
    """The torch Parameters [U, dim] and [N, dim] of the two Embedding layers."""
    user, item = (model.get_layer(f"{side}_embedding").embeddings.value for side in ("user", "item"))
    return user, item
