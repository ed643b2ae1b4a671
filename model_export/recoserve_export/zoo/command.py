"""`recoserve train` trains a model on a ratings file and an items file, and writes it as a verified bundle."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from recoserve_export.inputs.ids import read_ids
from recoserve_export.inputs.metadata import read_items
from recoserve_export.report import ExportReport
from recoserve_export.zoo.architectures import catalog
from recoserve_export.zoo.data.dataset import Dataset, read_dataset
from recoserve_export.zoo.data.genres import COLUMN, Genres, read_genres
from recoserve_export.zoo.options import (
    ArchitectureName,
    BatchSizeOption,
    BundleNameOption,
    BundleOption,
    BundleVersionOption,
    DimOption,
    DimsOption,
    DotSimilarityOption,
    EpochsOption,
    GenreColumnOption,
    HoldoutOption,
    L2Option,
    L2sOption,
    LearningRateOption,
    SaveModelOption,
    SimilarityName,
    TemperatureOption,
    dimensions,
    weights,
)
from recoserve_export.zoo.outputs import Outputs, check_outputs
from recoserve_export.zoo.training import sweep, sweep_plot, sweep_table
from recoserve_export.zoo.training.recipe import Recipe, default_recipe
from recoserve_export.zoo.training.run import TrainedModel, manifest_metrics, train_model


def train(
    ratings: Annotated[Path, typer.Option(help="CSV of interactions: user, item, and optionally rating and timestamp.")],
    items: Annotated[Path, typer.Option(help="CSV of items: an id column, and any columns of metadata.")],
    architecture: Annotated[ArchitectureName, typer.Option(help="The model to train, and the framework to build it in.")],
    out: BundleOption = None,
    dim: DimOption = None,
    epochs: EpochsOption = None,
    learning_rate: LearningRateOption = None,
    l2: L2Option = None,
    temperature: TemperatureOption = None,
    batch_size: BatchSizeOption = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="The same seed gives the same weights on one machine.")] = 0,
    holdout: HoldoutOption = 0.2,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Length of the recommended lists that are measured.")] = 10,
    similarity: DotSimilarityOption = None,
    genre_column: GenreColumnOption = COLUMN,
    dims: DimsOption = None,
    l2s: L2sOption = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the comparison as an .svg or .png; needs matplotlib.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the comparison as a .json file.")] = None,
    name: BundleNameOption = None,
    version: BundleVersionOption = None,
    save_model: SaveModelOption = None,
) -> None:
    """Train a model on a ratings file and write it as a verified bundle.

    Each user's last interactions are held out, and the model is measured on them beside a popularity baseline. The figures are
    printed, and stored in the manifest. The bundle holds the model that was measured, which was not trained on what was held out.
    With --dims or --l2s several models are trained and compared, and the bundle holds the best of them by NDCG.
    """
    hyperparameters = {"dim": dim, "epochs": epochs, "learning_rate": learning_rate, "l2": l2, "temperature": temperature}
    recipe = _recipe(architecture.value, {**hyperparameters, "batch_size": batch_size, "seed": seed}, similarity)
    recipes = _sweep_recipes(recipe, dims, l2s)
    outputs = Outputs(out, save_model, plot, json_file)
    check_outputs(outputs, architecture.value, is_sweep=recipes is not None)
    plan = _Plan(architecture.value, _read(ratings, items, architecture.value, genre_column), holdout, k)
    trained, metrics = _train_one(plan, recipe) if recipes is None else _train_several(plan, recipes, outputs)
    if save_model is not None:
        catalog.load_kit(plan.architecture).save(trained.model, save_model)
    if out is not None:
        typer.echo(str(_export(trained, out, plan.sources, metrics, name, version)))


def _recipe(architecture: str, hyperparameters: dict[str, Any], similarity: SimilarityName | None) -> Recipe:
    """The architecture's default recipe, in which the hyperparameters that are not None replace its own."""
    if similarity is not None and architecture not in catalog.DOT:
        raise typer.BadParameter(f"is only for {' and '.join(catalog.DOT)}; {architecture} has a score of its own")
    options = {**hyperparameters, "similarity": similarity and similarity.value}
    return replace(default_recipe(architecture), **{name: value for name, value in options.items() if value is not None})


def _sweep_recipes(recipe: Recipe, dims: str | None, l2s: str | None) -> list[Recipe] | None:
    """`recipe` at every dimension with every weight; None if neither is listed, so that one model is to be trained."""
    listed_dims, listed_l2s = dimensions(dims), weights(l2s)
    if listed_dims is None and listed_l2s is None:
        return None
    return sweep.recipes(recipe, listed_dims or [], listed_l2s or [])


@dataclass(frozen=True)
class _Sources:
    """What a model is trained on, and `items`, the file of the items' metadata for the bundle."""

    dataset: Dataset
    items: Path
    genres: Genres | None


@dataclass(frozen=True)
class _Plan:
    """What all runs of the command have in common; only their recipes differ."""

    architecture: str
    sources: _Sources
    holdout: float
    k: int


def _read(ratings: Path, items: Path, architecture: str, genre_column: str) -> _Sources:
    """Both files, after the exporter's own checks of the items file: what it refuses is refused before any training."""
    dataset = read_dataset(ratings, items)
    read_items(items, read_ids("item", dataset.item_ids, len(dataset.item_ids)))
    with_genres = architecture in catalog.WITH_GENRES
    return _Sources(dataset, items, read_genres(items, dataset.item_ids, genre_column) if with_genres else None)


def _train_one(plan: _Plan, recipe: Recipe) -> tuple[TrainedModel, dict[str, Any]]:
    """Train one model and print its figures; returns it, and the `metrics` of its manifest."""
    sources = plan.sources
    trained = train_model(plan.architecture, sources.dataset, recipe, plan.holdout, plan.k, sources.genres)
    Console().print(comparison(trained))
    return trained, manifest_metrics(trained, sources.dataset, plan.architecture, plan.holdout)


def _train_several(plan: _Plan, recipes: list[Recipe], outputs: Outputs) -> tuple[TrainedModel, dict[str, Any]]:
    """Train several models and print, draw and write their comparison; returns the best one, and the `metrics` of its manifest."""
    sources = plan.sources
    swept = sweep.run(plan.architecture, sources.dataset, recipes, plan.holdout, plan.k, sources.genres)
    Console().print(sweep_table.table(swept))
    if outputs.plot is not None:
        sweep_plot.write(swept, outputs.plot)
    if outputs.json is not None:
        outputs.json.write_text(json.dumps(sweep.document(swept), indent=2) + "\n")
    metrics = manifest_metrics(swept.best, sources.dataset, plan.architecture, plan.holdout)
    return swept.best, {**metrics, "sweep": [sweep.figures(run) for run in swept.runs]}


def comparison(trained: TrainedModel) -> Table:
    """The model's figures beside the baseline's, with their ratio."""
    table = Table("held out", "popularity", "model", "ratio", title=f"trained in {trained.seconds:.1f} s")
    baseline = trained.popularity.named()
    for figure, value in trained.metrics.named().items():
        ratio = f"{value / baseline[figure]:.2f}" if baseline[figure] else "–"
        table.add_row(figure, f"{baseline[figure]:.4f}", f"{value:.4f}", ratio)
    return table


def _export(
    trained: TrainedModel, out: Path, sources: _Sources, metrics: dict[str, Any], name: str | None, version: str | None
) -> ExportReport:
    from recoserve_export.publish import export_model  # here, since it imports onnx, which `recoserve train --help` doesn't need

    dataset = sources.dataset
    return export_model(
        trained.model,
        out,
        similarity=trained.recipe.similarity,
        user_ids=dataset.user_ids,
        item_ids=dataset.item_ids,
        items=sources.items,
        interactions=(dataset.user_row, dataset.item_row),
        item_features={"genre": sources.genres.rows} if sources.genres else None,
        name=name,
        version=version,
        metrics=metrics,
    )
