"""`recoserve train`: from a ratings file and an items file to a verified bundle, in one step."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from recoserve.bundle.archive import Draft
from recoserve.errors import ExportRefused
from recoserve_export.inputs.metadata import read_ids, read_items
from recoserve_export.zoo.architectures import catalog
from recoserve_export.zoo.data.dataset import Dataset, read_dataset
from recoserve_export.zoo.data.genres import COLUMN, Genres, read_genres
from recoserve_export.zoo.options import (
    LARGEST_DIM,
    ArchitectureName,
    SimilarityName,
    dimensions,
    not_negative,
    plain,
    positive,
    share,
    weights,
)
from recoserve_export.zoo.training import sweep, sweep_plot, sweep_table
from recoserve_export.zoo.training.recipe import Recipe, usual
from recoserve_export.zoo.training.run import Trained, manifest_metrics, train_model

OWN = "the architecture's own"


def train(
    ratings: Annotated[Path, typer.Option(help="CSV of interactions: user, item, and optionally rating and timestamp.")],
    items: Annotated[Path, typer.Option(help="CSV of items: an id column, and any columns of metadata.")],
    architecture: Annotated[ArchitectureName, typer.Option(help="The framework, and what is built in it.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The bundle to write; must not exist yet.")] = None,
    dim: Annotated[int | None, typer.Option(min=1, max=LARGEST_DIM, help="Length of a vector.", show_default=OWN)] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Times round the users.", show_default=OWN)] = None,
    learning_rate: Annotated[float | None, typer.Option(callback=positive, help="Adam's, falling to 0.", show_default=OWN)] = None,
    l2: Annotated[
        float | None, typer.Option("--l2", callback=not_negative, help="Weight of the vectors' squared length.", show_default=OWN)
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(callback=positive, help="Divides scores before the softmax.", show_default=OWN)
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Users in a training step.", show_default=OWN)] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Same seed, same weights.")] = 0,
    holdout: Annotated[float, typer.Option(callback=share, help="Share of each user's last interactions held out.")] = 0.2,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Length of the lists that are measured.")] = 10,
    similarity: Annotated[SimilarityName | None, typer.Option(help="What a dot model scores by; default: cosine.")] = None,
    genre_column: Annotated[str, typer.Option(help="Column of the items file with the genre of a genre-mlp.")] = COLUMN,
    dims: Annotated[str | None, typer.Option(help="Train at each of these dimensions, like 8,16,32,64, and compare.")] = None,
    l2s: Annotated[str | None, typer.Option("--l2s", help="And with each of these weights, like 0,1e-4,1e-3.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the comparison as an .svg or .png; needs matplotlib.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the comparison as JSON.")] = None,
    name: Annotated[
        str | None, typer.Option(callback=plain, help="The bundle's name; default: from a path like NAME/VERSION.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(callback=plain, help="The bundle's version; default: from such a path, or 1.")
    ] = None,
    save_model: Annotated[Path | None, typer.Option(help="Also save the model: .keras, or a state_dict as .pt.")] = None,
) -> None:
    """Train a model on a ratings file and write it as a verified bundle.

    Each user's last interactions are held out, and the model is measured on them beside a popularity baseline.
    The figures are printed and go into the manifest. The model that was measured is the one that ships: it has not seen what
    was held out. With --dims or --l2s several are trained and compared, and the best by NDCG is the one that ships.
    """
    chosen = {"dim": dim, "epochs": epochs, "learning_rate": learning_rate, "l2": l2, "temperature": temperature}
    recipe = _recipe(architecture.value, {**chosen, "batch_size": batch_size, "seed": seed}, similarity)
    asked = _Asked(architecture.value, dimensions(dims), weights(l2s), out, save_model, plot, json_file)
    asked.check()
    sources = _read(ratings, items, asked.architecture, genre_column)
    trained, metrics = _trained(asked, sources, recipe, holdout, k)
    if save_model is not None:
        catalog.load_kit(asked.architecture).save(trained.model, save_model)
    if out is not None:
        typer.echo(str(_export(trained, out, sources, metrics, name, version)))


@dataclass(frozen=True)
class _Asked:
    """What is trained, and what is to be written."""

    architecture: str
    dims: list[int] | None
    l2s: list[float] | None
    out: Path | None
    save_model: Path | None
    plot: Path | None
    json: Path | None

    @property
    def several(self) -> bool:
        return self.dims is not None or self.l2s is not None

    def check(self) -> None:
        """Refuses what can't be written, before any work is done."""
        if self.out is None and not self.several:
            raise typer.BadParameter("is needed, except with --dims or --l2s", param_hint="'--out' / '-o'")
        if self.out is not None:
            Draft(self.out)
        if not self.several and (self.plot or self.json):
            raise typer.BadParameter("compare runs, and go with --dims or --l2s", param_hint="'--plot' and '--json'")
        suffix = catalog.SUFFIXES[self.architecture]
        _check_file(self.save_model, (suffix,), f"{self.architecture} is saved as a {suffix} file", "--save-model")
        _check_file(self.plot, sweep_plot.SUFFIXES, "a plot is an .svg or a .png file", "--plot")
        _check_file(self.json, (".json",), "must end in .json", "--json")
        if self.plot is not None:
            sweep_plot.check()


def _check_file(path: Path | None, suffixes: tuple[str, ...], said: str, option: str) -> None:
    if path is None:
        return
    if path.suffix not in suffixes:
        raise typer.BadParameter(said, param_hint=option)
    if not path.parent.is_dir():
        raise ExportRefused(f"{path.parent} is no folder; make it first, or choose another for {option}")


def _recipe(architecture: str, chosen: dict[str, Any], similarity: SimilarityName | None) -> Recipe:
    """The architecture's own recipe, but for what was chosen."""
    if similarity is not None and architecture not in catalog.DOT:
        raise typer.BadParameter(f"goes with {' and '.join(catalog.DOT)}; {architecture} has a score of its own")
    given = {**chosen, "similarity": similarity and similarity.value}
    return replace(usual(architecture), **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class _Sources:
    dataset: Dataset
    items: Path
    genres: Genres | None


def _read(ratings: Path, items: Path, architecture: str, genre_column: str) -> _Sources:
    """Both files, with the exporter's checks, before any training."""
    dataset = read_dataset(ratings, items)
    read_items(items, read_ids("item", dataset.item_ids, len(dataset.item_ids)))
    with_genres = architecture in catalog.WITH_GENRES
    return _Sources(dataset, items, read_genres(items, dataset.item_ids, genre_column) if with_genres else None)


def _trained(asked: _Asked, sources: _Sources, recipe: Recipe, holdout: float, k: int) -> tuple[Trained, dict[str, Any]]:
    """The model to hand on and what its manifest says; the figures are printed, and a comparison is written as asked."""
    data = sources.dataset
    if not asked.several:
        trained = train_model(asked.architecture, data, recipe, holdout, k, sources.genres)
        Console().print(comparison(trained))
        return trained, manifest_metrics(trained, data, asked.architecture, holdout)
    recipes = sweep.recipes(recipe, asked.dims or [], asked.l2s or [])
    found = sweep.run(asked.architecture, data, recipes, holdout, k, sources.genres)
    Console().print(sweep_table.table(found))
    if asked.plot is not None:
        sweep_plot.write(found, asked.plot)
    if asked.json is not None:
        asked.json.write_text(json.dumps(sweep.document(found), indent=2) + "\n")
    metrics = manifest_metrics(found.best, data, asked.architecture, holdout)
    return found.best, {**metrics, "sweep": [sweep.figures(run) for run in found.runs]}


def comparison(trained: Trained) -> Table:
    """The model's figures beside the baseline's, with their ratio."""
    table = Table("held out", "popularity", "model", "ratio", title=f"trained in {trained.seconds:.1f} s")
    baseline = trained.popularity.named()
    for figure, value in trained.metrics.named().items():
        ratio = f"{value / baseline[figure]:.2f}" if baseline[figure] else "–"
        table.add_row(figure, f"{baseline[figure]:.4f}", f"{value:.4f}", ratio)
    return table


def _export(trained: Trained, out: Path, sources: _Sources, metrics: dict[str, Any], name: str | None, version: str | None) -> Any:
    from recoserve_export.publish import export_model

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
