"""Stand-ins for the recommendation layers of KMR, so that files with such layers load: the package is on no package index.

They are registered under KMR's own names unless the package itself has been imported. They take KMR's arguments by keyword; options
of a file that they don't use are kept, and written again when the model is saved.
"""

from typing import Any, ClassVar

import keras
from keras import layers, ops

PACKAGE = "kmr.layers"
TABLE_COPIES = ("user_embedding_weights", "item_embedding_weights")  # copies of the tables that KMR writes into the description


class _StandIn(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A layer with the options in `known`, with their defaults, and any others that its file has."""

    known: ClassVar[dict[str, Any]] = {}

    def __init__(self, name: str | None = None, trainable: bool = True, dtype: Any = None, **options: Any) -> None:
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        self.options = {**self.known, **{key: value for key, value in options.items() if key not in TABLE_COPIES}}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options}


class CollaborativeUserItemEmbedding(_StandIn):
    """[user ids, item ids] of any shapes -> their rows of two tables: `num_users`, `num_items`, `embedding_dim`."""

    known: ClassVar = {"embedding_dim": 32, "l2_reg": 1e-6}

    def build(self, input_shape: Any) -> None:  # noqa: ARG002  # Keras reads the name
        options = self.options
        self.user_embedding = layers.Embedding(options["num_users"], options["embedding_dim"], name="user_embedding")
        self.item_embedding = layers.Embedding(options["num_items"], options["embedding_dim"], name="item_embedding")
        for table in (self.user_embedding, self.item_embedding):
            table.build()
        self.built = True

    def call(self, inputs: Any) -> Any:
        users, items = inputs
        return self.user_embedding(users), self.item_embedding(items)


class NormalizedDotProductSimilarity(_StandIn):
    """Two tensors -> sum(a*b)/sqrt(dim) over axis 1, which is kept: for [B, dim] a score, for [B, n, dim] a sum over n."""

    def call(self, inputs: Any) -> Any:
        users, items = inputs
        return ops.sum(users * items, axis=1, keepdims=True) / float(users.shape[-1]) ** 0.5


class CosineSimilarityExplainer(_StandIn):
    """[users [B, dim], items [B, n, dim]] -> cosine [B, n]."""

    def call(self, inputs: Any) -> Any:
        users, items = (rows / (ops.norm(rows, axis=-1, keepdims=True) + 1e-10) for rows in inputs)
        if len(users.shape) == len(items.shape):
            return ops.sum(users * items, axis=-1)
        return ops.sum(ops.expand_dims(users, 1) * items, axis=-1)


class TopKRecommendationSelector(_StandIn):
    """Scores [B, n] -> positions and scores of the `k` best, fewer where n is smaller."""

    known: ClassVar = {"k": 10}

    def call(self, scores: Any) -> Any:
        best, positions = ops.top_k(scores, min(self.options["k"], scores.shape[-1]))
        return positions, best


class DeepFeatureTower(_StandIn):
    """Vectors [B, n] -> [B, units]: `hidden_layers` times Dense, BatchNormalization and Dropout."""

    known: ClassVar = {"units": 32, "hidden_layers": 2, "dropout_rate": 0.2, "l2_reg": 1e-6, "activation": "relu"}

    def build(self, input_shape: Any) -> None:
        options, shape = self.options, tuple(input_shape)
        self.dense_layers, self.batch_norms, self.dropouts = [], [], []
        for _ in range(options["hidden_layers"]):  # in this order, in which an .h5 file lists the weights
            self.dense_layers.append(layers.Dense(options["units"], activation=options["activation"]))
            self.batch_norms.append(layers.BatchNormalization())
            self.dropouts.append(layers.Dropout(options["dropout_rate"]))
            self.dense_layers[-1].build(shape)
            shape = (*shape[:-1], options["units"])
            self.batch_norms[-1].build(shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        for dense, norm, dropout in zip(self.dense_layers, self.batch_norms, self.dropouts, strict=True):
            inputs = dropout(norm(dense(inputs), training=training), training=training)
        return inputs


LAYERS = {
    layer.__name__: layer
    for layer in (
        CollaborativeUserItemEmbedding,
        NormalizedDotProductSimilarity,
        CosineSimilarityExplainer,
        TopKRecommendationSelector,
        DeepFeatureTower,
    )
}
for _name, _layer in LAYERS.items():
    if keras.saving.get_registered_object(f"{PACKAGE}>{_name}") is None:  # otherwise the package itself is imported
        keras.saving.register_keras_serializable(PACKAGE)(_layer)
