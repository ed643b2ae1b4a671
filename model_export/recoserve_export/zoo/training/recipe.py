"""What a training run is asked for, and what each family of architectures is trained with unless told otherwise."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters; the defaults are the dot models', with which the README's figures were made.

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


PAIRS = Recipe(dim=32, epochs=40, learning_rate=0.02, l2=0.01, temperature=1.0, batch_size=32, similarity="model")
USUAL = {
    "dot": Recipe(),
    "biased-dot": replace(PAIRS, learning_rate=0.01),
    "mlp": PAIRS,
    "genre-mlp": PAIRS,
    "two-tower": replace(PAIRS, learning_rate=0.01, l2=0.001, batch_size=16),
    "neumf": replace(PAIRS, learning_rate=0.01, l2=0.03),
}


def usual(architecture: str) -> Recipe:
    """The recipe of an architecture, whichever framework it is built in."""
    return USUAL[architecture.partition("-")[2]]
