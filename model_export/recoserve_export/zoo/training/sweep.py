"""Trains one architecture at several dimensions and regularisations, to compare what each costs and how well it predicts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from recoserve_export.zoo.data.dataset import Dataset, describe_split
from recoserve_export.zoo.data.genres import Genres
from recoserve_export.zoo.training.recipe import Recipe
from recoserve_export.zoo.training.run import TrainedModel, train_model

# Rules by which people choose the dimension of an embedding of n rows without training it.
RULES_OF_THUMB: Mapping[str, Callable[[int], int]] = {
    "sqrt(n)": lambda n: max(1, round(math.sqrt(n))),
    "min(50, n/2)": lambda n: max(1, min(50, n // 2)),
}


@dataclass(frozen=True)
class Sweep:
    """The runs in the order of their recipes, without their models, and the best of them by NDCG, with its model."""

    architecture: str
    dataset: Dataset
    holdout: float
    runs: tuple[TrainedModel, ...]
    best: TrainedModel

    @property
    def advice(self) -> dict[str, dict[str, int]]:
        """The dimensions that the rules of thumb advise, by side and rule."""
        counts = {"users": len(self.dataset.user_ids), "items": len(self.dataset.item_ids)}
        return {side: {name: rule(n) for name, rule in RULES_OF_THUMB.items()} for side, n in counts.items()}


def recipes(base: Recipe, dims: Sequence[int], l2s: Sequence[float]) -> list[Recipe]:
    """`base` at every dimension and every regularisation; for an empty list, at that of `base`."""
    return [replace(base, dim=dim, l2=l2) for l2 in l2s or [base.l2] for dim in dims or [base.dim]]


def run(
    architecture: str, dataset: Dataset, recipes: Sequence[Recipe], holdout: float, k: int, genres: Genres | None = None
) -> Sweep:
    """Train and measure each recipe on the same split; raises as `train_model` does."""
    models = (train_model(architecture, dataset, recipe, holdout, k, genres) for recipe in recipes)
    best = next(models)
    runs = [replace(best, model=None)]
    for trained in models:  # one at a time, so that two models at most are in memory
        runs.append(replace(trained, model=None))
        best = max(best, trained, key=lambda model: model.metrics.ndcg)
    return Sweep(architecture, dataset, holdout, tuple(runs), best)


def figures(trained: TrainedModel) -> dict[str, Any]:
    """The dimension, the regularisation, the costs and the metrics of one run."""
    costs = {"dim": trained.recipe.dim, "l2": trained.recipe.l2, "seconds": round(trained.seconds, 3), "bytes": trained.bytes}
    return {**costs, **trained.metrics.named()}


def document(sweep: Sweep) -> dict[str, Any]:
    """The sweep as a document for JSON."""
    dataset = sweep.dataset
    return {
        "architecture": sweep.architecture,
        "users": len(dataset.user_ids),
        "items": len(dataset.item_ids),
        "interactions": len(dataset.user_row),
        "split": describe_split(sweep.holdout, dataset.timed),
        "k": sweep.best.metrics.k,
        "popularity": sweep.best.popularity.named(),
        "rules_of_thumb": sweep.advice,
        "runs": [figures(trained) for trained in sweep.runs],
        "best": figures(sweep.best),
    }
