"""A dot product with a bias for each user and each item, in Keras."""

from recoserve_export.zoo.architectures.keras_kit import keras, rows_input, vector


def build(user_count: int, item_count: int, dim: int, *, seed: int = 0) -> keras.Model:
    """A fresh functional model: inputs `user` and `item`, int64 [B, 1] rows -> `score`, float32 [B, 1], drawn by `seed` alone.

    Raises ExportRefused where Keras runs on another backend.
    """
    counts = {"user": user_count, "item": item_count}
    inputs = [rows_input(name) for name in counts]
    sides = [(rows, name, counts[name]) for rows, name in zip(inputs, counts, strict=True)]
    seeds = iter(range(4 * seed, 4 * seed + 4))  # one for each layer
    vectors = [vector(rows, f"{name}_embedding", count, dim, next(seeds)) for rows, name, count in sides]
    biases = [vector(rows, f"{name}_bias", count, 1, next(seeds)) for rows, name, count in sides]
    product = keras.layers.Dot(axes=1, name="product")(vectors)
    return keras.Model(inputs=inputs, outputs=keras.layers.Add(name="score")([product, *biases]), name="keras_biased_dot")
