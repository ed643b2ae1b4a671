"""One training run: split, fit, measure. The model that is measured is the model that is returned."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

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

    `seconds` is the time that fitting took; `bytes` are those of the float32 weights. `model` is None where it was not kept.
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

    `holdout` is the share of each user's last interactions that is held out, `k` the length of the measured lists; `genres` goes
    with an architecture that takes one. Raises FileInvalid where nothing can be held out, ExportRefused where the framework is
    missing or training diverged.
    """
    split = dataset.split(holdout)
    if not len(split.held_out):
        raise FileInvalid("no user has two interactions, so that none can be held out; bring more ratings per user")
    counts = len(dataset.user_ids), len(dataset.item_ids)
    if architecture in catalog.DOT:
        model, seconds, metrics = _train_tables(architecture, counts, split, recipe, k)
    else:
        model, seconds, metrics = _train_pair_scorer(architecture, counts, split, recipe, k, genres)
    parameters = catalog.load_kit(architecture).parameters(model)
    weights = 4 * sum(parameter.numel() for parameter in parameters)
    return TrainedModel(model, recipe, metrics, evaluate_popularity(split, counts[1], k), seconds, weights)


def _train_tables(architecture: str, counts: tuple[int, int], split: Split, recipe: Recipe, k: int) -> tuple[Any, float, Metrics]:
    from recoserve_export.zoo.training.table_trainer import fit

    dot = catalog.load_dot(architecture)
    model = dot.build(*counts, recipe.dim, normalize=recipe.similarity == "cosine", seed=recipe.seed)
    tables = dot.tables(model)
    seconds = _seconds_of(recipe, lambda report: fit(*tables, split.train, recipe, report))
    _check_finite(tables)
    users, items = (table.detach().cpu().numpy() for table in tables)
    return model, seconds, evaluate_tables(users, items, split, k, recipe.similarity)


def _train_pair_scorer(
    architecture: str, counts: tuple[int, int], split: Split, recipe: Recipe, k: int, genres: Genres | None
) -> tuple[Any, float, Metrics]:
    from recoserve_export.zoo.training.pair_scores import catalogue_scores
    from recoserve_export.zoo.training.pair_trainer import Trainee, fit

    scorer = catalog.load_scorer(architecture)
    kit, options = scorer.kit, {"genres": len(genres.names)} if genres else {}
    model = scorer.build(*counts, recipe.dim, seed=recipe.seed, **options)
    features: Mapping[str, Rows] = {"genre": genres.rows} if genres else {}
    trainee = Trainee(kit.logits(model, training=True), kit.parameters(model), kit.embeddings(model))
    seconds = _seconds_of(recipe, lambda report: fit(trainee, counts, features, split.train, recipe, report))
    _check_finite(trainee.parameters)
    scores_of = catalogue_scores(kit.logits(model, training=False), counts[1], features, trainee.parameters[0].device)
    return model, seconds, evaluate(scores_of, split, counts[1], k)


def _seconds_of(recipe: Recipe, fit: Callable[[EpochReport], None]) -> float:
    """The seconds that `fit` takes, with its progress shown meanwhile."""
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
