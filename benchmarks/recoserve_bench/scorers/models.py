"""The models that are measured, rows of the list in docs/export.md. They are untrained: weights change no time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

USERS, GENRES = 1000, 20


@dataclass(frozen=True)
class Scorer:
    """A model to measure; `build` makes it for a number of items, in `framework`, with a genre as a further input or without."""

    name: str
    framework: str
    build: Callable[[int], Any]
    genre: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the model's inputs."""
        return ("user", "item", "genre") if self.genre else ("user", "item")


def _keras_dot(items: int) -> Any:
    import keras

    from recoserve_export.zoo.architectures import keras_dot

    model = keras_dot.build(USERS, items, 64, normalize=False)
    return keras.Model(model.inputs, keras.layers.Activation("sigmoid")(model.output))


def _keras_mlp(items: int, genres: int | None = None) -> Any:
    from recoserve_export.zoo.architectures import keras_mlp

    return keras_mlp.build(USERS, items, 64, genre_count=genres)


def _torch_mlp(items: int, dim: int) -> Any:
    from recoserve_export.zoo.architectures import torch_mlp

    return torch_mlp.build(USERS, items, dim, genre_count=GENRES)


SCORERS = {
    scorer.name: scorer
    for scorer in (
        Scorer("a", "keras", _keras_dot),
        Scorer("b", "keras", _keras_mlp),
        Scorer("c", "keras", lambda items: _keras_mlp(items, GENRES), genre=True),
        Scorer("d", "torch", lambda items: _torch_mlp(items, 3), genre=True),
        Scorer("d-wide", "torch", lambda items: _torch_mlp(items, 50), genre=True),
    )
}
