"""What the Keras architectures share: layers to build with, and what `catalog.Kit` does with any Keras model."""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras as keras  # imported from here by the other architectures, after the backend is set

from recoserve.errors import ExportRefused
from recoserve_export.zoo.architectures.catalog import Logits

INITIAL_STD = 0.3  # far enough apart that an MLP learns more than popularity
LOGIT = "logit"  # the layer whose output a sigmoid follows


def check_backend() -> None:
    """Raise ExportRefused where Keras runs on another backend than torch: the trainers move torch Parameters."""
    if keras.backend.backend() != "torch":
        raise ExportRefused(f"Keras runs on {keras.backend.backend()} here; set KERAS_BACKEND=torch")


def rows_input(name: str) -> Any:
    """An input of one row number, int64 [B, 1]."""
    check_backend()
    return keras.Input(shape=(1,), dtype="int64", name=name)


def vector(rows: Any, name: str, count: int, dim: int, seed: int) -> Any:
    """The rows' vectors [B, dim], looked up in a table of `count`, drawn from N(0, 0.3²) by `seed`."""
    initializer = keras.initializers.RandomNormal(stddev=INITIAL_STD, seed=seed)
    table = keras.layers.Embedding(count, dim, embeddings_initializer=initializer, name=name)
    return keras.layers.Flatten(name=f"{name}_flat")(table(rows))


def dense(width: int, name: str, seed: int, activation: str | None = None) -> Any:
    """A Dense layer, drawn by `seed`."""
    initializer = keras.initializers.GlorotUniform(seed=seed)
    return keras.layers.Dense(width, activation=activation, kernel_initializer=initializer, name=name)


def squashed(hidden: Any, seed: int) -> Any:
    """Dense(1), then a sigmoid: [B, 1] between 0 and 1."""
    return keras.layers.Activation("sigmoid", name="score")(dense(1, LOGIT, seed)(hidden))


def logits(model: keras.Model, training: bool) -> Logits:
    """The model's score before the sigmoid; `training` runs dropout and batch normalisation as a training step does."""
    outputs = [layer.output for layer in model.layers if layer.name == LOGIT]
    scorer = keras.Model(model.inputs, outputs[0]) if outputs else model
    names = [model_input.name for model_input in model.inputs]
    return lambda rows: scorer([rows[name][:, None] for name in names], training=training).squeeze(1)


def parameters(model: keras.Model) -> list[Any]:
    """The torch Parameters behind the trainable weights."""
    return [weight.value for weight in model.trainable_weights]


def embeddings(model: keras.Model) -> list[tuple[str, Any]]:
    """Each embedding's Parameter, with the input that indexes it: the layer's name starts with the input's."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    return [(layer.name.partition("_")[0], layer.embeddings.value) for layer in layers]


def save(model: keras.Model, path: Path) -> None:
    """Write a `.keras` file."""
    model.save(path)
