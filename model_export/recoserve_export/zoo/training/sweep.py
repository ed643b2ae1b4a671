"""One architecture trained at several dimensions and regularisations: what each costs, and what it foresees."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from recoserve_export.zoo.data.dataset import Dataset, describe_split
from recoserve_export.zoo.data.genres import Genres
from recoserve_export.zoo.training.recipe import Recipe
from recoserve_export.zoo.training.run import Trained, train_model

RULES: Mapping[str, Callable[[int], int]] = {
    "sqrt(n)": lambda n: max(1, round(math.sqrt(n))),
    "min(50, n/2)": lambda n: max(1, min(50, n // 2)),
}


@dataclass(frozen=True)
class Sweep:
    """The runs in the order in which they were asked for, and the best of them by NDCG, the only one whose model is kept."""

    architecture: str
    dataset: Dataset
    holdout: float
    runs: tuple[Trained, ...]
    best: Trained

    @property
    def advice(self) -> dict[str, dict[str, int]]:
        """What the rules of thumb advise for a side of n rows, by side and rule."""
        counts = {"users": len(self.dataset.user_ids), "items": len(self.dataset.item_ids)}
        return {side: {name: rule(n) for name, rule in RULES.items()} for side, n in counts.items()}


def recipes(base: Recipe, dims: Sequence[int], l2s: Sequence[float]) -> list[Recipe]:
    """`base` at every dimension and every regularisation; of an empty list it keeps its own."""
    return [replace(base, dim=dim, l2=l2) for l2 in l2s or [base.l2] for dim in dims or [base.dim]]


def run(
    architecture: str, dataset: Dataset, asked: Sequence[Recipe], holdout: float, k: int, genres: Genres | None = None
) -> Sweep:
    """Train and measure each of `asked` on the same split; raises as `train_model` does."""
    found = (train_model(architecture, dataset, recipe, holdout, k, genres) for recipe in asked)
    best = next(found)
    runs = [replace(best, model=None)]
    for one in found:
        runs.append(replace(one, model=None))
        best = max(best, one, key=lambda trained: trained.metrics.ndcg)
    return Sweep(architecture, dataset, holdout, tuple(runs), best)


def figures(trained: Trained) -> dict[str, Any]:
    """What a sweep reports of one run."""
    own = {"dim": trained.recipe.dim, "l2": trained.recipe.l2, "seconds": round(trained.seconds, 3), "bytes": trained.bytes}
    return {**own, **trained.metrics.named()}


def document(sweep: Sweep) -> dict[str, Any]:
    """All of it, as JSON has it."""
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
        "runs": [figures(each) for each in sweep.runs],
        "best": figures(sweep.best),
    }
