"""An MLP over the joined embeddings of user and item, and of the item's genre if there is one, in Keras."""

from typing import Any

from recoserve_export.zoo.architectures.keras_kit import dense, keras, rows_input, sigmoid_score, vector
from recoserve_export.zoo.architectures.widths import HIDDEN, genre_width


def build(
    user_count: int,
    item_count: int,
    dim: int,
    *,
    genre_count: int | None = None,
    hidden: int = HIDDEN,
    dropout: float = 0.0,
    batch_norm: bool = False,
    seed: int = 0,
) -> keras.Model:
    """A fresh functional model: Concatenate → Dense(hidden, relu) → Dense(1) → sigmoid, drawn by `seed` alone.

    Inputs `user`, `item` and, if `genre_count` is given, `genre`: int64 [B, 1] rows -> `score`, float32 [B, 1].
    `batch_norm` and `dropout` stand between the two Dense layers. Raises ExportRefused where Keras runs on another backend.
    """
    table_shapes = {"user": (user_count, dim), "item": (item_count, dim)}
    if genre_count:
        table_shapes["genre"] = (genre_count, genre_width(dim))
    inputs = [rows_input(name) for name in table_shapes]
    # Each layer has a seed of its own: 9 * seed and the numbers after it.
    vectors = [
        vector(rows, f"{name}_embedding", *table_shapes[name], seed=9 * seed + index)
        for index, (name, rows) in enumerate(zip(table_shapes, inputs, strict=True))
    ]
    joined = keras.layers.Concatenate(name="vectors")(vectors)
    inner = _between(dense(hidden, "hidden", 9 * seed + 3, "relu")(joined), dropout, batch_norm, 9 * seed + 4)
    score = sigmoid_score(inner, 9 * seed + 5)
    return keras.Model(inputs=inputs, outputs=score, name="keras_genre_mlp" if genre_count else "keras_mlp")


def _between(hidden: Any, dropout: float, batch_norm: bool, seed: int) -> Any:
    if batch_norm:
        hidden = keras.layers.BatchNormalization(name="normalised")(hidden)
    return keras.layers.Dropout(dropout, seed=seed, name="dropout")(hidden) if dropout else hidden
