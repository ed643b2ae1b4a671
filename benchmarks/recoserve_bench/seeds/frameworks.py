"""What each framework does with its models: build, train, save, and score by its own forward pass."""

import os
from pathlib import Path
from typing import Any, Protocol

from recoserve.bundle.arrays import Float64Array
from recoserve_bench.seeds.data import Data


class Framework(Protocol):
    """The functions of `keras_side` and of `torch_side`."""

    def build(self, name: str, seed: int) -> Any:
        """The model of this name, with random weights."""

    def train(self, model: Any, data: Data, epochs: int, logits: bool) -> None:
        """Train with binary cross-entropy on rated and random pairs; `logits`: the model doesn't end with a sigmoid."""

    def steepen(self, model: Any, factor: float) -> None:
        """Multiply the weights of its last layer."""

    def save(self, model: Any, path: Path) -> None:
        """Write the model in the format of the path's suffix."""

    def inputs(self, model: Any) -> list[str]:
        """The names of the model's inputs."""

    def scores(self, model: Any, data: Data, user: int) -> Float64Array:
        """The model's own scores of one user row for every film, float64 [films]."""

    def vectors(self, model: Any, data: Data) -> tuple[Float64Array, Float64Array]:
        """The vectors of every user and every film that the model's dot product multiplies, float64 [rows, d]."""


def load_framework(name: str) -> Framework:
    """The framework of this name, imported only now, on one thread."""
    # Models this small are slower on several threads, which wait for one another.
    import torch

    torch.set_num_threads(1)
    if name == "keras":
        os.environ.setdefault("KERAS_BACKEND", "torch")
        from recoserve_bench.seeds import keras_side

        return keras_side
    from recoserve_bench.seeds import torch_side

    return torch_side
