"""What a row's model can do, whichever framework it is of: learn, be saved, and score, by the framework's own forward."""

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recoserve_bench.seeds.data import Data

Scores = NDArray[np.float64]


class Framework(Protocol):
    """One module for each: keras_side, torch_side."""

    def build(self, name: str, seed: int) -> Any:
        """The model that `name` is called, with fresh weights."""

    def train(self, model: Any, data: Data, epochs: int, logits: bool) -> None:
        """Binary cross-entropy on rated and random pairs; `logits` where no sigmoid ends the model."""

    def steepen(self, model: Any, factor: float) -> None:
        """Make the weights of its last layer so many times as large."""

    def save(self, model: Any, path: Path) -> None:
        """As the path's suffix has it."""

    def inputs(self, model: Any) -> list[str]:
        """Their names."""

    def scores(self, model: Any, data: Data, user: int) -> Scores:
        """The model's own scores of one user and every film."""

    def vectors(self, model: Any, data: Data) -> tuple[Scores, Scores]:
        """Of every user and every film, as the model's dot product multiplies them."""


def framework(name: str) -> Framework:
    """By its name; imported only now. Models this small are slower on several threads, which wait for one another."""
    import torch

    torch.set_num_threads(1)
    if name == "keras":
        os.environ.setdefault("KERAS_BACKEND", "torch")
        from recoserve_bench.seeds import keras_side

        return keras_side
    from recoserve_bench.seeds import torch_side

    return torch_side


def inputs_of(names: list[str], data: Data, users: Any, movies: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Values for a model's inputs, by what their names say they are; `users` is one row or an array of them."""
    given: dict[str, NDArray[Any]] = {
        "user": np.broadcast_to(np.asarray(users), movies.shape).copy(),
        "movie": movies,
        "genre": data.genre[movies],
    }
    given |= {"item": movies, "genres": data.marks[movies]}
    return {name: given[name.removesuffix("_id")] for name in names}
