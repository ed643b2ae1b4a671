"""`recoserve export`: the command line over `export_model`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Similarity = StrEnum("Similarity", ["cosine", "dot", "model"])
ItemFeatureOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=FILE[:COLUMN]", help="A further input that depends on the item alone; may be given again."),
]
FeatureNamesOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=FILE", help="The names of a feature's values, one per row of its table; may be given again."),
]
SimilarityOption = Annotated[
    Similarity | None,
    typer.Option(
        help="cosine: normalised dot product, the default of models that are one; dot: raw; model: the model's own score, the "
        "default of every other."
    ),
]
TrustOption = Annotated[
    bool, typer.Option("--trust", help="Load a file that holds code, which runs it: only of a maker you trust.")
]
ArchitectureOption = Annotated[
    str | None, typer.Option(metavar="PACKAGE.MODULE:CALLABLE", help="Builds the module of a state_dict, without arguments.")
]


def export(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="BUNDLE", help="Folder to write, for instance models/NAME/VERSION.")],
    source: Annotated[
        Path | None, typer.Argument(help="A .keras, .h5, .pt, .pth, .safetensors or .onnx file, or a SavedModel folder.")
    ] = None,
    user_embeddings: Annotated[Path | None, typer.Option(help="User table, .npy of floats, users x width.")] = None,
    item_embeddings: Annotated[Path | None, typer.Option(help="Item table, .npy of floats, items x width.")] = None,
    architecture: ArchitectureOption = None,
    user_input: Annotated[str | None, typer.Option(metavar="NAME", help="The model's user input; default: by its name.")] = None,
    item_input: Annotated[str | None, typer.Option(metavar="NAME", help="The model's item input; default: by its name.")] = None,
    item_feature: ItemFeatureOption = None,
    feature_names: FeatureNamesOption = None,
    similarity: SimilarityOption = None,
    user_ids: Annotated[Path | None, typer.Option(help="External user ids, one per row: .txt, .csv, .json or .npy.")] = None,
    item_ids: Annotated[Path | None, typer.Option(help="External item ids, one per row: .txt, .csv, .json or .npy.")] = None,
    items: Annotated[Path | None, typer.Option(help="Item metadata, a CSV file joined on the external id.")] = None,
    interactions: Annotated[Path | None, typer.Option(help="Pairs already seen, a CSV file of user and item ids.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Model name; default: from a BUNDLE like NAME/VERSION, or the file's stem.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="Model version; default: from a BUNDLE like NAME/VERSION, or 1.")] = None,
    trust: TrustOption = False,
) -> None:
    """Export a trained model as a bundle, after checking that it answers as the model does."""
    tables = [path for path in (user_embeddings, item_embeddings) if path is not None]
    if len(tables) == 1 or (source is None) == (not tables):
        raise typer.BadParameter("give SOURCE, or both --user-embeddings and --item-embeddings in its place")
    from recoserve_export.publish import export_model

    report = export_model(
        source or (user_embeddings, item_embeddings),
        out,
        similarity=similarity.value if similarity else None,
        user_input=user_input,
        item_input=item_input,
        user_ids=user_ids,
        item_ids=item_ids,
        items=items,
        interactions=interactions,
        name=name,
        version=version,
        architecture=architecture,
        item_features=_named("--item-feature", item_feature),
        feature_names=_named("--feature-names", feature_names),
        trust=trust,
    )
    typer.echo(str(report))


def _named(option: str, given: list[str] | None) -> dict[str, str]:
    """NAME=REST of each, by name."""
    found = {}
    for text in given or []:
        name, equals, rest = text.partition("=")
        if not (name and equals and rest) or name in found:
            raise typer.BadParameter(f"{text!r} must be NAME=FILE, each NAME once", param_hint=option)
        found[name] = rest
    return found
