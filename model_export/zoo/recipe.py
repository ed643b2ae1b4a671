"""What a training run is asked for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters; the defaults are those that the README's figures were made with.

    `temperature` divides the score before the softmax: the lower, the more the hardest items count. `l2` weighs the mean
    squared length of the vectors that a step touches. `batch_size` counts users, each with all of their interactions.
    """

    dim: int = 64
    epochs: int = 30
    learning_rate: float = 0.01
    l2: float = 0.001
    temperature: float = 0.12
    batch_size: int = 64
    seed: int = 0
    similarity: str = "cosine"
