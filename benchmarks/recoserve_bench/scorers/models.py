"""The models that are measured, rows of the list in docs/export.md: untrained, since their numbers change no time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

USERS, GENRES = 1000, 20


@dataclass(frozen=True)
class Scorer:
    """`build` makes a model of a framework for so many items; `inputs` are the names of what it takes."""

    name: str
    framework: str
    build: Callable[[int], Any]
    genre: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """User, item, and the genre where there is one."""
        return ("user", "item", "genre") if self.genre else ("user", "item")


def _keras_dot(items: int) -> Any:
    import keras

    from recoserve_export.zoo.architectures import keras_dot

    model = keras_dot.build(USERS, items, 64, normalize=False)
    return keras.Model(model.inputs, keras.layers.Activation("sigmoid")(model.output))


def _keras_mlp(items: int, genres: int | None = None) -> Any:
    from recoserve_export.zoo.architectures import keras_mlp

    return keras_mlp.build(USERS, items, 64, genres=genres)


def _torch_mlp(items: int, dim: int) -> Any:
    from recoserve_export.zoo.architectures import torch_mlp

    return torch_mlp.build(USERS, items, dim, genres=GENRES)


SCORERS = {
    one.name: one
    for one in (
        Scorer("a", "keras", _keras_dot),
        Scorer("b", "keras", _keras_mlp),
        Scorer("c", "keras", lambda items: _keras_mlp(items, GENRES), genre=True),
        Scorer("d", "torch", lambda items: _torch_mlp(items, 3), genre=True),
        Scorer("d-wide", "torch", lambda items: _torch_mlp(items, 50), genre=True),
    )
}
