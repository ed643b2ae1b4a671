"""One run of the reference trainer: split, fit, measure. The model that is measured is the model that is handed on."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model_export.zoo import architectures
from model_export.zoo.dataset import Dataset, Split, describe_split
from model_export.zoo.evaluation import Metrics, evaluate_popularity, evaluate_tables
from model_export.zoo.progress import epochs_shown
from model_export.zoo.recipe import Recipe
from service.errors import ExportRefused, FileInvalid


@dataclass(frozen=True)
class Trained:
    """A model with what it scored on the held-out interactions, beside the popularity baseline on the same ones."""

    model: Any
    metrics: Metrics
    popularity: Metrics
    seconds: float


def train_model(architecture: str, dataset: Dataset, recipe: Recipe, holdout: float, k: int) -> Trained:
    """Fit `architecture` to all but the held-out interactions, and measure it on those.

    Raises FileInvalid where nothing can be held out, ExportRefused where the framework is missing or training diverged.
    """
    split = dataset.split(holdout)
    if not len(split.held_out):
        raise FileInvalid("no user has two interactions, so that none can be held out; bring more ratings per user")
    zoo = architectures.load(architecture)
    cosine = recipe.similarity == "cosine"
    model = zoo.build(len(dataset.user_ids), len(dataset.item_ids), recipe.dim, normalize=cosine, seed=recipe.seed)
    seconds = _fit(zoo.tables(model), split, recipe)
    users, items = (table.detach().cpu().numpy() for table in zoo.tables(model))
    if not (np.isfinite(users).all() and np.isfinite(items).all()):
        raise ExportRefused(
            "training diverged: the model holds NaN or infinity; lower --learning-rate or --l2, or raise --temperature"
        )
    measured = evaluate_tables(users, items, split, k, recipe.similarity)
    return Trained(model, measured, evaluate_popularity(split, len(items), k), seconds)


def _fit(tables: tuple[Any, Any], split: Split, recipe: Recipe) -> float:
    """Seconds that fitting took."""
    from model_export.zoo.trainer import fit

    started = time.perf_counter()
    with epochs_shown(recipe.epochs) as report:
        fit(*tables, split.train, recipe, report)
    return time.perf_counter() - started


def manifest_metrics(trained: Trained, dataset: Dataset, recipe: Recipe, holdout: float) -> dict[str, Any]:
    """What the manifest says of the run: the split, the figures, the baseline's figures, and the hyperparameters."""
    return {
        "split": describe_split(holdout, dataset.timed),
        "k": trained.metrics.k,
        **trained.metrics.named(),
        "popularity": trained.popularity.named(),
        "training": {"seconds": round(trained.seconds, 3), **asdict(recipe)},
    }
