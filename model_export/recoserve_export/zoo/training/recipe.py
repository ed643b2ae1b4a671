"""The hyperparameters of a training run, and the defaults of each family of architectures."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters; the defaults are the dot models', with which the README's figures were made.

    `temperature` divides the score before the softmax: the lower, the more the hardest items count. `l2` weighs the mean
    squared length of the vectors of a batch's users and of their items. `batch_size` counts users, each with all interactions.
    """

    dim: int = 64
    epochs: int = 30
    learning_rate: float = 0.01
    l2: float = 0.001
    temperature: float = 0.12
    batch_size: int = 64
    seed: int = 0
    similarity: str = "cosine"


PAIR_SCORER = Recipe(dim=32, epochs=40, learning_rate=0.02, l2=0.01, temperature=1.0, batch_size=32, similarity="model")
DEFAULTS = {
    "dot": Recipe(),
    "biased-dot": replace(PAIR_SCORER, learning_rate=0.01),
    "mlp": PAIR_SCORER,
    "genre-mlp": PAIR_SCORER,
    "two-tower": replace(PAIR_SCORER, learning_rate=0.01, l2=0.001, batch_size=16),
    "neumf": replace(PAIR_SCORER, learning_rate=0.01, l2=0.03),
}


def default_recipe(architecture: str) -> Recipe:
    """The default recipe of an architecture such as torch-mlp; both frameworks have the same."""
    return DEFAULTS[architecture.partition("-")[2]]
