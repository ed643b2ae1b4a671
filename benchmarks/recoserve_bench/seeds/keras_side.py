"""How Keras models are built, trained, saved and scored; see `frameworks.Framework`."""

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np

from recoserve.bundle.arrays import Float64Array
from recoserve_bench.seeds import keras_models
from recoserve_bench.seeds.data import Data, model_inputs, with_negatives

BATCH, RATE, KMR = 4096, 0.01, "kmr."


def build(name: str, seed: int) -> Any:
    keras.utils.set_random_seed(seed)
    if name.startswith(KMR):
        from recoserve_bench.seeds import kmr_models

        return getattr(kmr_models, name.removeprefix(KMR))()
    return getattr(keras_models, name)()


def train(model: Any, data: Data, epochs: int, logits: bool) -> None:
    user, movie, label = with_negatives(data, seed=0)
    learner = model if _lookup(model) is None or _dots(model) else _of_pairs(model)
    learner.compile(keras.optimizers.Adam(RATE), keras.losses.BinaryCrossentropy(from_logits=logits))
    learner.fit(_named(learner, data, user, movie), label, BATCH, epochs, verbose=0)


def steepen(model: Any, factor: float) -> None:
    last = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)][-1]
    last.set_weights([factor * weight for weight in last.get_weights()])


def save(model: Any, path: Path) -> None:
    logging.getLogger("absl").setLevel(logging.ERROR)  # it advises against .h5
    model.save(path)


def scores(model: Any, data: Data, user: int) -> Float64Array:
    named = _named(model, data, user, np.arange(len(data.movie_ids)))
    predicted: Float64Array = np.asarray(model.predict_on_batch(named), np.float64).reshape(-1)
    return predicted


def vectors(model: Any, data: Data) -> tuple[Float64Array, Float64Array]:
    lookup = _lookup(model)
    if lookup is not None and not _dots(model):
        return _table(lookup.user_embedding), _table(lookup.item_embedding)
    (dot,) = _dots(model)
    both = keras.Model(model.inputs, [keras.ops.reshape(side, (-1, side.shape[-1])) for side in dot.input])
    users, movies = np.arange(len(data.user_ids)), np.arange(len(data.movie_ids))
    user_vectors, _ = both.predict_on_batch(_named(model, data, users, np.zeros_like(users)))
    _, movie_vectors = both.predict_on_batch(_named(model, data, 0, movies))
    return np.asarray(user_vectors, np.float64), np.asarray(movie_vectors, np.float64)


def inputs(model: Any) -> list[str]:
    return [tensor.name for tensor in model.inputs]


def _named(model: Any, data: Data, user: Any, movie: Any) -> dict[str, Any]:
    return {name: column.reshape(len(column), -1) for name, column in model_inputs(inputs(model), data, user, movie).items()}


def _lookup(model: Any) -> Any:
    return next((layer for layer in model.layers if type(layer).__name__ == "CollaborativeUserItemEmbedding"), None)


def _table(embedding: Any) -> Float64Array:
    return np.asarray(embedding.get_weights()[0], np.float64)


def _dots(model: Any) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Dot)]


def _of_pairs(model: Any) -> Any:
    """A model of one user and one film over the same tables, for training: KMR's own model compares a user with a list."""
    inputs = [keras.Input((1,), name=name, dtype="int64") for name in ("user", "movie")]
    score = keras.layers.Dot(axes=1)([keras.layers.Flatten()(side) for side in _lookup(model)(inputs)])
    return keras.Model(inputs, keras.layers.Activation("sigmoid")(score))
