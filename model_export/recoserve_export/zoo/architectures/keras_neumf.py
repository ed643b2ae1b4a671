"""NeuMF in Keras (He et al., 2017): a weighted dot product and an MLP, each over embeddings of its own, in one last layer."""

from recoserve_export.zoo.architectures.keras_kit import dense, keras, rows_input, sigmoid_score, vector
from recoserve_export.zoo.architectures.widths import HIDDEN


def build(user_count: int, item_count: int, dim: int, *, hidden: int = HIDDEN, seed: int = 0) -> keras.Model:
    """A fresh functional model: inputs `user` and `item`, int64 [B, 1] rows -> `score`, float32 [B, 1], drawn by `seed` alone.

    Raises ExportRefused where Keras runs on another backend.
    """
    user, item = rows_input("user"), rows_input("item")
    seeds = iter(range(7 * seed, 7 * seed + 7))  # one for each layer
    gmf = [vector(*side, dim, next(seeds)) for side in ((user, "user_gmf", user_count), (item, "item_gmf", item_count))]
    deep = [vector(*side, dim, next(seeds)) for side in ((user, "user_mlp", user_count), (item, "item_mlp", item_count))]
    inner = dense(hidden, "hidden", next(seeds), "relu")(keras.layers.Concatenate(name="vectors")(deep))
    branches = [keras.layers.Multiply(name="product")(gmf), dense(hidden // 2, "inner", next(seeds), "relu")(inner)]
    score = sigmoid_score(keras.layers.Concatenate(name="both")(branches), next(seeds))
    return keras.Model(inputs=[user, item], outputs=score, name="keras_neumf")
