"""Embeddings side by side into an MLP, in Keras, with the item's genre as a third one or without it."""

from typing import Any

from recoserve_export.zoo.architectures.keras_kit import dense, keras, rows_input, squashed, vector
from recoserve_export.zoo.architectures.widths import HIDDEN, genre_width


def build(
    users: int,
    items: int,
    dim: int,
    *,
    genres: int | None = None,
    hidden: int = HIDDEN,
    dropout: float = 0.0,
    batch_norm: bool = False,
    seed: int = 0,
) -> keras.Model:
    """A fresh functional model: Concatenate → Dense(hidden, relu) → Dense(1) → sigmoid, drawn by `seed` alone.

    Inputs `user`, `item` and, where `genres` says how many there are, `genre`: int64 [B, 1] rows -> `score`, float32 [B, 1].
    `batch_norm` and `dropout` stand between the two Dense layers. Raises ExportRefused where Keras runs on another backend.
    """
    counts = {"user": (users, dim), "item": (items, dim)} | ({"genre": (genres, genre_width(dim))} if genres else {})
    inputs = [rows_input(name) for name in counts]
    vectors = [
        vector(rows, f"{name}_embedding", *counts[name], seed=9 * seed + index)
        for index, (name, rows) in enumerate(zip(counts, inputs, strict=True))
    ]
    joined = keras.layers.Concatenate(name="vectors")(vectors)
    inner = _between(dense(hidden, "hidden", 9 * seed + 3, "relu")(joined), dropout, batch_norm, 9 * seed + 4)
    return keras.Model(inputs=inputs, outputs=squashed(inner, 9 * seed + 5), name="keras_genre_mlp" if genres else "keras_mlp")


def _between(hidden: Any, dropout: float, batch_norm: bool, seed: int) -> Any:
    if batch_norm:
        hidden = keras.layers.BatchNormalization(name="normalised")(hidden)
    return keras.layers.Dropout(dropout, seed=seed, name="dropout")(hidden) if dropout else hidden
