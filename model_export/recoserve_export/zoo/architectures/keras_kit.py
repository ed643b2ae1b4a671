"""What the Keras architectures share: layers to build with, and what `catalog.Kit` does with any Keras model."""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras as keras  # the other architectures import it from here, after the backend is set

from recoserve.errors import ExportRefused
from recoserve_export.zoo.architectures.catalog import Logits

INITIAL_STD = 0.3  # spreads the vectors so far apart that an MLP learns more than popularity
LOGIT = "logit"  # the layer whose output a sigmoid follows


def check_backend() -> None:
    """Raise ExportRefused if Keras runs on another backend than torch: the trainers optimise torch Parameters."""
    if keras.backend.backend() != "torch":
        raise ExportRefused(f"Keras runs on {keras.backend.backend()} here; set KERAS_BACKEND=torch")


def rows_input(name: str) -> Any:
    """An input of one row number, int64 [B, 1]."""
    check_backend()
    return keras.Input(shape=(1,), dtype="int64", name=name)


def vector(rows: Any, name: str, row_count: int, dim: int, seed: int) -> Any:
    """The rows' vectors [B, dim], looked up in a table of `row_count` rows, which `seed` draws from N(0, 0.3²)."""
    initializer = keras.initializers.RandomNormal(stddev=INITIAL_STD, seed=seed)
    table = keras.layers.Embedding(row_count, dim, embeddings_initializer=initializer, name=name)
    return keras.layers.Flatten(name=f"{name}_flat")(table(rows))


def dense(width: int, name: str, seed: int, activation: str | None = None) -> Any:
    """A Dense layer whose weights `seed` draws."""
    initializer = keras.initializers.GlorotUniform(seed=seed)
    return keras.layers.Dense(width, activation=activation, kernel_initializer=initializer, name=name)


def sigmoid_score(hidden: Any, seed: int) -> Any:
    """The score [B, 1], between 0 and 1: Dense(1), then a sigmoid."""
    return keras.layers.Activation("sigmoid", name="score")(dense(1, LOGIT, seed)(hidden))


def logits(model: keras.Model, training: bool) -> Logits:
    """A function that gives the score before the sigmoid; with `training`, dropout and batch normalisation run as in training."""
    outputs = [layer.output for layer in model.layers if layer.name == LOGIT]
    scorer = keras.Model(model.inputs, outputs[0]) if outputs else model
    names = [model_input.name for model_input in model.inputs]
    return lambda rows: scorer([rows[name][:, None] for name in names], training=training).squeeze(1)


def parameters(model: keras.Model) -> list[Any]:
    """The torch Parameters of the trainable weights."""
    return [weight.value for weight in model.trainable_weights]


def embeddings(model: keras.Model) -> list[tuple[str, Any]]:
    """For each embedding, the name of its input, with which the layer's own name starts, and its Parameter."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    return [(layer.name.partition("_")[0], layer.embeddings.value) for layer in layers]


def save(model: keras.Model, path: Path) -> None:
    """Write a `.keras` file."""
    model.save(path)
