"""Two towers in Keras: each side's embedding through two dense layers of its own, then a dot product."""

from typing import Any

from recoserve_export.zoo.architectures.keras_kit import dense, keras, rows_input, vector
from recoserve_export.zoo.architectures.widths import HIDDEN


def build(user_count: int, item_count: int, dim: int, *, hidden: int = HIDDEN, seed: int = 0) -> keras.Model:
    """A fresh functional model: inputs `user` and `item`, int64 [B, 1] rows -> `score`, float32 [B, 1], drawn by `seed` alone.

    Raises ExportRefused where Keras runs on another backend.
    """
    # A tower takes three seeds, one for each of its layers.
    user, user_vector = _tower("user", user_count, dim, hidden, 6 * seed)
    item, item_vector = _tower("item", item_count, dim, hidden, 6 * seed + 3)
    score = keras.layers.Dot(axes=1, name="score")([user_vector, item_vector])
    return keras.Model(inputs=[user, item], outputs=score, name="keras_two_tower")


def _tower(name: str, rows: int, dim: int, hidden: int, seed: int) -> tuple[Any, Any]:
    row = rows_input(name)
    inner = dense(hidden, f"{name}_hidden", seed + 1, "relu")(vector(row, f"{name}_embedding", rows, dim, seed))
    return row, dense(dim, f"{name}_tower", seed + 2)(inner)
