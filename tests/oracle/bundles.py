"""MovieLens small, trained briefly as by `recoserve train`, and exported as every kind of bundle that the oracle knows."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recoserve.bundle.arrays import Float64Array, Rows
from recoserve_export import export_model
from recoserve_export.zoo.architectures import catalog
from recoserve_export.zoo.data.dataset import Dataset, read_dataset
from recoserve_export.zoo.training.recipe import default_recipe
from recoserve_export.zoo.training.run import train_model
from tests.movielens import FOLDER
from tests.oracle.world import EmbeddingTables, Id, World

BRIEF_TRAINING: Mapping[str, Mapping[str, Any]] = {
    "keras-dot": {"dim": 16, "epochs": 2},
    "torch-dot": {"dim": 16, "epochs": 2, "similarity": "dot"},
    "torch-biased-dot": {"dim": 8, "epochs": 1},
    "torch-mlp": {"dim": 8, "epochs": 1},
}
WITHOUT_HISTORY = 50  # the interactions of every 50th user are not in the bundles


@dataclass(frozen=True)
class OracleBundle:
    """A bundle's folder, and what the oracle knows of its model."""

    path: Path
    world: World


@dataclass(frozen=True)
class _Sources:
    data: Dataset
    items: list[dict[str, Any]]
    pairs: tuple[Rows, Rows]
    seen: list[Rows]


@dataclass(frozen=True)
class Kind:
    """One bundle: the architecture that is trained, its score, and how it is exported."""

    architecture: str
    similarity: str
    ids: str = "integer"
    bare: bool = False  # without metadata and interactions
    padded: bool = False  # the first user and the first item are zeros, and every 10th item repeats the one before it


KINDS = {
    "keras-dot": Kind("keras-dot", "cosine"),
    "torch-cosine": Kind("torch-dot", "cosine", ids="string"),
    "torch-dot": Kind("torch-dot", "dot"),
    "torch-model": Kind("torch-dot", "model"),
    "torch-biased": Kind("torch-biased-dot", "model"),
    "torch-mlp": Kind("torch-mlp", "model"),
    "padded-cosine": Kind("torch-dot", "cosine", padded=True),
    "padded-dot": Kind("torch-dot", "dot", padded=True),
    "bare": Kind("torch-dot", "cosine", ids="row", bare=True),
}


def make(folder: Path, names: list[str], epochs: int | None = None, source: Path = FOLDER) -> list[OracleBundle]:
    """Train each architecture once on the files of `source`, save and export; `folder`/models becomes a model repository."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # models this small train faster on one thread than on several that wait for each other
    try:
        sources = _read(source)
        trained = {kind: _train(kind, sources.data, folder, epochs) for kind in {KINDS[name].architecture for name in names}}
        return [_export(name, KINDS[name], *trained[KINDS[name].architecture], sources, folder / "models") for name in names]
    finally:
        torch.set_num_threads(threads)


def _read(source: Path) -> _Sources:
    data = read_dataset(source / "ratings.csv", source / "movies.csv")
    included = data.user_row % WITHOUT_HISTORY != WITHOUT_HISTORY - 1
    pairs = data.user_row[included], data.item_row[included]
    seen = [np.unique(pairs[1][pairs[0] == user]) for user in range(len(data.user_ids))]
    ratings = np.bincount(data.item_row, minlength=len(data.item_ids))
    return _Sources(data, _metadata(source, data.item_ids, ratings), pairs, seen)


def _metadata(source: Path, ids: list[Any], ratings: Rows) -> list[dict[str, Any]]:
    """Metadata with every type of column: strings, numbers, booleans, lists, gaps, nulls, and one of mixed types."""
    with open(source / "movies.csv", encoding="utf-8", newline="") as file:
        lines = {int(line["movieId"]): line for line in csv.DictReader(file)}
    return [_item_metadata(lines[movie], int(count)) for movie, count in zip(ids, ratings, strict=True)]


def _item_metadata(line: Mapping[str, str], ratings: int) -> dict[str, Any]:
    number, end = int(line["movieId"]), line["title"].rstrip()[-5:-1]
    metadata: dict[str, Any] = {"title": line["title"], "mixed": number if number % 2 else str(number)}
    if line["genres"] != "(no genres listed)":
        metadata["genres"] = line["genres"].split("|")
    if end.isdigit():
        metadata["year"] = int(end)
    if ratings:
        metadata["fame"] = round(float(np.log1p(ratings)), 3)
    if number % 7:
        metadata["classic"] = end.isdigit() and int(end) < 1970
    if number % 10 == 0:
        metadata["shown in"] = [number % 17, number % 23 + 0.5]
    if number in (1, 50, 318):
        metadata["a/b~c"] = f"prized Φ{number}"
    if number % 3 == 0:
        metadata["note"] = None if number % 2 else "ñandú " + "xyz"[number % 3 - 1]
    return metadata


def stand_in(folder: Path, users: int = 610, items: int = 9742, ratings: int = 30_000) -> Path:
    """Write random files in MovieLens' format and of its size, for a machine without it; returns the folder."""
    rng = np.random.default_rng(0)
    genres = ("Comedy", "Drama", "Western", "Thriller", "Musical")
    with open(folder / "movies.csv", "w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["movieId", "title", "genres"])
        for movie in range(1, items + 1):
            year, chosen = rng.integers(1920, 2019), rng.choice(genres, rng.integers(1, 4), replace=False)
            lines.writerow([movie, f"Film {movie} ({year})" if movie % 40 else f"Film {movie}", "|".join(chosen)])
    pairs = np.unique(np.column_stack([rng.integers(1, users + 1, ratings), rng.integers(1, items + 1, ratings)]), axis=0)
    rows = "".join(f"{user},{item},4,{time}\n" for time, (user, item) in enumerate(pairs.tolist()))
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + rows)
    return folder


def _train(architecture: str, data: Dataset, folder: Path, epochs: int | None) -> tuple[Any, Path]:
    recipe = replace(default_recipe(architecture), **BRIEF_TRAINING[architecture])
    trained = train_model(architecture, data, replace(recipe, epochs=epochs or recipe.epochs), 0.2, 10)
    saved = folder / f"{architecture}{catalog.SUFFIXES[architecture]}"
    catalog.load_kit(architecture).save(trained.model, saved)
    return trained.model, saved


def _export(name: str, kind: Kind, model: Any, saved: Path, sources: _Sources, folder: Path) -> OracleBundle:
    users, items = (
        _ids(letter, integers, kind.ids) for letter, integers in (("u", sources.data.user_ids), ("i", sources.data.item_ids))
    )
    ids: dict[str, Any] = {} if kind.ids == "row" else {"user_ids": users, "item_ids": items}
    files: dict[str, Any] = {} if kind.bare else {"items": sources.items, "interactions": sources.pairs}
    if kind.padded:
        model = tuple(table.astype(np.float32) for table in _two_tables(saved, kind))
    export_model(model, folder / name / "1", similarity=kind.similarity, **ids, **files)
    seen = [rows[:0] for rows in sources.seen] if kind.bare else sources.seen
    metadata = None if kind.bare else sources.items
    world = World(name, kind.ids, users, items, metadata, seen, **SCORES[kind.architecture](saved, kind))
    return OracleBundle(folder / name / "1", world)


def _ids(letter: str, integers: list[Any], kind: str) -> list[Id]:
    if kind == "row":
        return list(range(len(integers)))
    return [f"{letter}-{integer}é" for integer in integers] if kind == "string" else integers


def _keras_dot(saved: Path, kind: Kind) -> dict[str, Any]:
    import keras

    model = keras.saving.load_model(saved)
    users, items = (np.asarray(model.get_layer(f"{side}_embedding").get_weights()[0], np.float64) for side in ("user", "item"))
    return {"tables": EmbeddingTables(users, items, cosine=kind.similarity == "cosine")}


def _torch_dot(saved: Path, kind: Kind) -> dict[str, Any]:
    users, items = _two_tables(saved, kind)
    return {"tables": EmbeddingTables(users, items, cosine=kind.similarity == "cosine")}


def _two_tables(saved: Path, kind: Kind) -> tuple[Float64Array, Float64Array]:
    """The tables of the saved file; those of a `padded` kind with a row of zeros for padding, and with repeated items."""
    users, items = (_state(saved)[f"{side}_embedding.weight"] for side in ("user", "item"))
    if kind.padded:
        users[0] = items[0] = 0
        items[10::10] = items[9:-1:10]
    return users, items


def _torch_biased(saved: Path, kind: Kind) -> dict[str, Any]:
    """The biases as two further columns, so the order of the bundle's columns is not known."""
    weights = _state(saved)
    user_vectors, item_vectors = (weights[f"{side}_embedding.weight"] for side in ("user", "item"))
    user_bias, item_bias = (weights[f"{side}_bias.weight"] for side in ("user", "item"))
    users = np.hstack([user_vectors, user_bias, np.ones_like(user_bias)])
    items = np.hstack([item_vectors, np.ones_like(item_bias), item_bias])
    return {"tables": EmbeddingTables(users, items, cosine=False, same_columns=False)}


def _torch_mlp(saved: Path, kind: Kind) -> dict[str, Any]:
    """The framework's own forward pass in float64, for one user and all items."""
    weights = {name: torch.from_numpy(value) for name, value in _state(saved).items()}
    (users, dim), items = weights["user_embedding.weight"].shape, len(weights["item_embedding.weight"])
    model = catalog.load_scorer("torch-mlp").build(users, items, dim).double().eval()
    model.load_state_dict(weights)

    @cache
    def forward(user: int) -> Float64Array:
        with torch.no_grad():
            scores: Float64Array = model(torch.full((items,), user), torch.arange(items)).numpy()
        return scores

    return {"forward": forward}


def _state(saved: Path) -> dict[str, Float64Array]:
    return {name: value.double().numpy() for name, value in torch.load(saved, weights_only=True).items()}


SCORES: Mapping[str, Callable[[Path, Kind], dict[str, Any]]] = {
    "keras-dot": _keras_dot,
    "torch-dot": _torch_dot,
    "torch-biased-dot": _torch_biased,
    "torch-mlp": _torch_mlp,
}
