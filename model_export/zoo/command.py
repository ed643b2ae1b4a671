"""`recoserve train`: from a ratings file and an items file to a verified bundle, in one step."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from model_export.companions import read_ids, read_items
from model_export.zoo import architectures
from model_export.zoo.dataset import Dataset, read_dataset
from model_export.zoo.recipe import Recipe
from model_export.zoo.training import Trained, manifest_metrics, train_model
from service.bundle.archive import Draft
from service.bundle.manifest import NAME
from service.errors import ExportRefused

USUAL = Recipe()
LARGEST = 1e6  # of a rate, a weight or a temperature: far beyond any use, far below what float32 holds


class ArchitectureName(StrEnum):
    """What `--architecture` takes."""

    KERAS_DOT = "keras-dot"
    TORCH_DOT = "torch-dot"


class SimilarityName(StrEnum):
    """What `--similarity` takes."""

    COSINE = "cosine"
    DOT = "dot"


def _positive(value: float) -> float:
    if not 0 < value <= LARGEST:
        raise typer.BadParameter(f"must be a number above 0, {LARGEST:g} at most")
    return value


def _not_negative(value: float) -> float:
    if not 0 <= value <= LARGEST:
        raise typer.BadParameter(f"must be a number from 0 to {LARGEST:g}")
    return value


def _share(value: float) -> float:
    if not 0 < value < 1:
        raise typer.BadParameter("must lie between 0 and 1, neither included")
    return value


def _plain(value: str | None) -> str | None:
    if value is not None and not NAME.fullmatch(value):
        raise typer.BadParameter("must be 1 to 128 characters of A-Za-z0-9._-, the first a letter or digit")
    return value


def train(
    ratings: Annotated[Path, typer.Option(help="CSV of interactions: user, item, and optionally rating and timestamp.")],
    items: Annotated[Path, typer.Option(help="CSV of items: an id column, and any columns of metadata.")],
    architecture: Annotated[ArchitectureName, typer.Option(help="The framework that the dot model is built in.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle to write; must not exist yet.")],
    dim: Annotated[int, typer.Option(min=1, help="Length of a vector.")] = USUAL.dim,
    epochs: Annotated[int, typer.Option(min=1, help="Times round the users.")] = USUAL.epochs,
    learning_rate: Annotated[float, typer.Option(callback=_positive, help="Adam's, falling to 0.")] = USUAL.learning_rate,
    l2: Annotated[float, typer.Option("--l2", callback=_not_negative, help="Weight of the vectors' squared length.")] = USUAL.l2,
    temperature: Annotated[float, typer.Option(callback=_positive, help="Divides scores before the softmax.")] = USUAL.temperature,
    batch_size: Annotated[int, typer.Option(min=1, help="Users in a training step.")] = USUAL.batch_size,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Same seed, same tables.")] = USUAL.seed,
    holdout: Annotated[float, typer.Option(callback=_share, help="Share of each user's last interactions held out.")] = 0.2,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Length of the lists that are measured.")] = 10,
    similarity: Annotated[SimilarityName, typer.Option(help="What the model scores by.")] = SimilarityName.COSINE,
    name: Annotated[
        str | None, typer.Option(callback=_plain, help="The bundle's name; default: from a path like NAME/VERSION.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(callback=_plain, help="The bundle's version; default: from such a path, or 1.")
    ] = None,
    save_model: Annotated[Path | None, typer.Option(help="Also save the model: .keras (keras-dot) or .pt (torch-dot).")] = None,
) -> None:
    """Train a dot model on a ratings file and write it as a verified bundle.

    Each user's last interactions are held out, and the model is measured on them beside a popularity baseline.
    The figures are printed and go into the manifest.

    The model that was measured is the one that ships: it has not seen what was held out.
    """
    Draft(out)  # refuses a folder that exists, before any work is done
    if save_model is not None:
        _check_save_path(save_model, architecture.value)
    recipe = Recipe(dim, epochs, learning_rate, l2, temperature, batch_size, seed, similarity.value)
    dataset = read_dataset(ratings, items)
    read_items(items, read_ids("item", dataset.item_ids, len(dataset.item_ids)))  # the exporter's checks, before any training
    trained = train_model(architecture.value, dataset, recipe, holdout, k)
    if save_model is not None:
        architectures.load(architecture.value).save(trained.model, save_model)
    Console().print(comparison(trained))
    metrics = manifest_metrics(trained, dataset, recipe, holdout)
    typer.echo(str(_export(trained.model, out, dataset, items, metrics, similarity.value, name, version)))


def _check_save_path(path: Path, architecture: str) -> None:
    suffix = architectures.SUFFIXES[architecture]
    if path.suffix != suffix:
        raise typer.BadParameter(f"{architecture} is saved as a {suffix} file", param_hint="--save-model")
    if not path.parent.is_dir():
        raise ExportRefused(f"{path.parent} is no folder; make it first, or save the model elsewhere")


def comparison(trained: Trained) -> Table:
    """The model's figures beside the baseline's, with their ratio."""
    table = Table("held out", "popularity", "model", "ratio", title=f"trained in {trained.seconds:.1f} s")
    baseline = trained.popularity.named()
    for figure, value in trained.metrics.named().items():
        ratio = f"{value / baseline[figure]:.2f}" if baseline[figure] else "–"
        table.add_row(figure, f"{baseline[figure]:.4f}", f"{value:.4f}", ratio)
    return table


def _export(
    model: Any,
    out: Path,
    dataset: Dataset,
    items: Path,
    metrics: dict[str, Any],
    similarity: str,
    name: str | None,
    version: str | None,
) -> Any:
    from model_export.publish import export_model

    return export_model(
        model,
        out,
        similarity=similarity,
        user_ids=dataset.user_ids,
        item_ids=dataset.item_ids,
        items=items,
        interactions=(dataset.user_row, dataset.item_row),
        name=name,
        version=version,
        metrics=metrics,
    )
