"""What every Keras model of the zoo shares: an embedding of one input, its score before the sigmoid, its tables, its file."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras as keras  # the zoo's other files take it from here, after the backend is set

from recoserve.errors import ExportRefused

INITIAL_STD = 0.3  # far enough apart that an MLP learns more than popularity
LOGIT = "logit"  # the layer whose output a sigmoid follows


def check_backend() -> None:
    """Raises ExportRefused where Keras runs on another backend than torch."""
    if keras.backend.backend() != "torch":
        raise ExportRefused(f"Keras runs on {keras.backend.backend()} here; set KERAS_BACKEND=torch")


def rows_input(name: str) -> Any:
    """An input of one row number, int64 [B, 1]."""
    check_backend()
    return keras.Input(shape=(1,), dtype="int64", name=name)


def vector(rows: Any, name: str, count: int, dim: int, seed: int) -> Any:
    """The rows' vectors [B, dim], looked up in a table of `count`, drawn from N(0, 0.3²) by `seed`."""
    draw = keras.initializers.RandomNormal(stddev=INITIAL_STD, seed=seed)
    table = keras.layers.Embedding(count, dim, embeddings_initializer=draw, name=name)
    return keras.layers.Flatten(name=f"{name}_flat")(table(rows))


def dense(width: int, name: str, seed: int, activation: str | None = None) -> Any:
    """A Dense layer, drawn by `seed`."""
    draw = keras.initializers.GlorotUniform(seed=seed)
    return keras.layers.Dense(width, activation=activation, kernel_initializer=draw, name=name)


def squashed(hidden: Any, seed: int) -> Any:
    """Dense(1), then a sigmoid: [B, 1] between 0 and 1."""
    return keras.layers.Activation("sigmoid", name="score")(dense(1, LOGIT, seed)(hidden))


def logits(model: keras.Model, training: bool) -> Callable[[Mapping[str, Any]], Any]:
    """The model's score before the sigmoid: int64 tensors [P] by input name -> float32 [P]."""
    ends = [layer.output for layer in model.layers if layer.name == LOGIT]
    bare = keras.Model(model.inputs, ends[0]) if ends else model
    names = [each.name for each in model.inputs]
    return lambda rows: bare([rows[name][:, None] for name in names], training=training).squeeze(1)


def parameters(model: keras.Model) -> list[Any]:
    """The torch Parameters behind the trainable weights."""
    return [weight.value for weight in model.trainable_weights]


def embeddings(model: keras.Model) -> list[tuple[str, Any]]:
    """Each table, under the input that its layer's name starts with."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    return [(layer.name.partition("_")[0], layer.embeddings.value) for layer in layers]


def save(model: keras.Model, path: Path) -> None:
    """Write a `.keras` file."""
    model.save(path)
