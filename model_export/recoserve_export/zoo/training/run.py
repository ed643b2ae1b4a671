"""One training run: splits the interactions, fits a model to one part, measures it on the other, and returns that very model."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from recoserve.bundle.arrays import Rows
from recoserve.errors import ExportRefused, FileInvalid
from recoserve_export.zoo.architectures import catalog
from recoserve_export.zoo.data.dataset import Dataset, Split, describe_split
from recoserve_export.zoo.data.genres import Genres
from recoserve_export.zoo.training.evaluation import Metrics, evaluate, evaluate_popularity, evaluate_tables
from recoserve_export.zoo.training.progress import EpochReport, epochs_shown
from recoserve_export.zoo.training.recipe import Recipe


@dataclass(frozen=True)
class TrainedModel:
    """A model, and its figures on the held-out interactions beside those of the popularity baseline on the same ones.

    `seconds` is the time that fitting took; `bytes` is the size of the float32 weights. `model` is None if it was not kept.
    """

    model: Any
    recipe: Recipe
    metrics: Metrics
    popularity: Metrics
    seconds: float
    bytes: int


def train_model(
    architecture: str, dataset: Dataset, recipe: Recipe, holdout: float, k: int, genres: Genres | None = None
) -> TrainedModel:
    """Fit `architecture` to all but the held-out interactions, and measure it on those.

    `holdout` is the share of each user's last interactions that is held out, `k` the length of the measured lists; `genres` are
    those of the items, for an architecture that takes them. Raises FileInvalid if nothing can be held out, ExportRefused if the
    framework is missing or training diverged.
    """
    split = dataset.split(holdout)
    if not len(split.held_out):
        raise FileInvalid("no user has two interactions, so none can be held out; bring more ratings per user")
    counts = _Counts(len(dataset.user_ids), len(dataset.item_ids))
    if architecture in catalog.DOT:
        model, seconds, metrics = _train_tables(architecture, counts, split, recipe, k)
    else:
        model, seconds, metrics = _train_pair_scorer(architecture, counts, split, recipe, k, genres)
    parameters = catalog.load_kit(architecture).parameters(model)
    weight_bytes = 4 * sum(parameter.numel() for parameter in parameters)
    return TrainedModel(model, recipe, metrics, evaluate_popularity(split, counts.item_count, k), seconds, weight_bytes)


class _Counts(NamedTuple):
    """How many users and items there are."""

    user_count: int
    item_count: int


def _train_tables(architecture: str, counts: _Counts, split: Split, recipe: Recipe, k: int) -> tuple[Any, float, Metrics]:
    """The model, the seconds that fitting took, and its metrics."""
    from recoserve_export.zoo.training.table_trainer import fit  # here, since it imports torch, which other commands don't need

    dot = catalog.load_dot(architecture)
    model = dot.build(*counts, recipe.dim, normalize=recipe.similarity == "cosine", seed=recipe.seed)
    tables = dot.tables(model)
    seconds = _seconds_of(recipe, lambda report: fit(*tables, split.train, recipe, report))
    _check_finite(tables)
    users, items = (table.detach().cpu().numpy() for table in tables)
    return model, seconds, evaluate_tables(users, items, split, k, recipe.similarity)


def _train_pair_scorer(
    architecture: str, counts: _Counts, split: Split, recipe: Recipe, k: int, genres: Genres | None
) -> tuple[Any, float, Metrics]:
    """The model, the seconds that fitting took, and its metrics."""
    # Imported here, since they import torch, which other commands don't need.
    from recoserve_export.zoo.training.pair_scores import catalogue_scores
    from recoserve_export.zoo.training.pair_trainer import Trainee, fit

    scorer = catalog.load_scorer(architecture)
    kit, options = scorer.kit, {"genre_count": len(genres.names)} if genres else {}
    model = scorer.build(*counts, recipe.dim, seed=recipe.seed, **options)
    features: Mapping[str, Rows] = {"genre": genres.rows} if genres else {}
    trainee = Trainee(kit.logits(model, training=True), kit.parameters(model), kit.embeddings(model))
    seconds = _seconds_of(
        recipe,
        lambda report: fit(
            trainee, split.train, features, recipe, report, user_count=counts.user_count, item_count=counts.item_count
        ),
    )
    _check_finite(trainee.parameters)
    scores_of = catalogue_scores(kit.logits(model, training=False), counts.item_count, features, trainee.parameters[0].device)
    return model, seconds, evaluate(scores_of, split, counts.item_count, k)


def _seconds_of(recipe: Recipe, fit: Callable[[EpochReport], None]) -> float:
    """Calls `fit`, shows its progress, and returns the seconds that it took."""
    from recoserve_export.zoo.training.descent import warm_up

    warm_up()
    started = time.perf_counter()
    with epochs_shown(recipe.epochs, recipe.dim) as report:
        fit(report)
    return time.perf_counter() - started


def _check_finite(parameters: Any) -> None:
    if not all(np.isfinite(parameter.detach().cpu().numpy()).all() for parameter in parameters):
        raise ExportRefused(
            "training diverged: the model holds NaN or infinity; lower --learning-rate or --l2, or raise --temperature"
        )


def manifest_metrics(trained: TrainedModel, dataset: Dataset, architecture: str, holdout: float) -> dict[str, Any]:
    """The manifest's `metrics` of a run: the split, the figures, the baseline's figures, and the hyperparameters."""
    return {
        "split": describe_split(holdout, dataset.timed),
        "k": trained.metrics.k,
        **trained.metrics.named(),
        "popularity": trained.popularity.named(),
        "training": {"architecture": architecture, "seconds": round(trained.seconds, 3), **asdict(trained.recipe)},
    }
