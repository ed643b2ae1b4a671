"""`recoserve export`: the command line over `export_model`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Similarity = StrEnum("Similarity", ["cosine", "dot", "model"])
OutOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="BUNDLE", help="Folder to write, for instance models/NAME/VERSION; must not exist.")
]
SourceArgument = Annotated[
    Path | None, typer.Argument(help="A .keras, .h5, .pt, .pth, .pt2, .safetensors or .onnx file, or a SavedModel folder.")
]
UserEmbeddingsOption = Annotated[
    Path | None, typer.Option(help="Instead of SOURCE: the users' vectors, a .npy file of floats, users x width.")
]
ItemEmbeddingsOption = Annotated[
    Path | None, typer.Option(help="Instead of SOURCE: the items' vectors, a .npy file of floats, items x width.")
]
ArchitectureOption = Annotated[
    str | None,
    typer.Option(
        metavar="PACKAGE.MODULE:CALLABLE",
        help="For a PyTorch state_dict: the class or function that builds its module, called without arguments.",
    ),
]
UserInputOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="The model's input that takes a user; default: the one named like a user.")
]
ItemInputOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="The model's input that takes an item; default: the one named like an item.")
]
ItemFeatureOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=FILE[:COLUMN]",
        help="One value per item for the model's further input NAME, such as a genre. Repeat the option for each such input.",
    ),
]
FeatureNamesOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=FILE",
        help="If the values of feature NAME are names: the name of each row of its table. Repeat the option for each such feature.",
    ),
]
SimilarityOption = Annotated[
    Similarity | None,
    typer.Option(
        help="The score to serve. cosine or dot: of the two vectors; model: the model's own. Default: cosine for a model that is "
        "one dot product of its own two embeddings, model for any other."
    ),
]
UserIdsOption = Annotated[
    Path | None, typer.Option(help="Your users' ids, one per row of the model: .txt, .csv, .json or .npy. Default: row numbers.")
]
ItemIdsOption = Annotated[
    Path | None, typer.Option(help="Your items' ids, one per row of the model: .txt, .csv, .json or .npy. Default: row numbers.")
]
InteractionsOption = Annotated[
    Path | None,
    typer.Option(
        help="The items that each user has already seen, to exclude them from recommendations: a CSV file of user and item ids."
    ),
]
NameOption = Annotated[str | None, typer.Option(help="Model name; default: from a BUNDLE like NAME/VERSION, or the source's name.")]
TrustOption = Annotated[
    bool, typer.Option("--trust", help="Load a file that contains code, and run that code. Only for files whose maker you trust.")
]


def export(
    out: OutOption,
    source: SourceArgument = None,
    user_embeddings: UserEmbeddingsOption = None,
    item_embeddings: ItemEmbeddingsOption = None,
    architecture: ArchitectureOption = None,
    user_input: UserInputOption = None,
    item_input: ItemInputOption = None,
    item_feature: ItemFeatureOption = None,
    feature_names: FeatureNamesOption = None,
    similarity: SimilarityOption = None,
    user_ids: UserIdsOption = None,
    item_ids: ItemIdsOption = None,
    items: Annotated[Path | None, typer.Option(help="Item metadata: a CSV file with a column of item ids.")] = None,
    interactions: InteractionsOption = None,
    name: NameOption = None,
    version: Annotated[str | None, typer.Option(help="Model version; default: from a BUNDLE like NAME/VERSION, or 1.")] = None,
    trust: TrustOption = False,
) -> None:
    """Export a trained model as a bundle, after checking that the bundle ranks and scores as the model does.

    A model that fails the check is refused with the reason, and nothing is written.
    """
    table_paths = [path for path in (user_embeddings, item_embeddings) if path is not None]
    if len(table_paths) == 1 or (source is None) == (not table_paths):
        raise typer.BadParameter("give SOURCE, or both --user-embeddings and --item-embeddings instead of it")
    # Imported here, since `recoserve --help` needn't wait for it.
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
        item_features=_by_name("--item-feature", item_feature),
        feature_names=_by_name("--feature-names", feature_names),
        trust=trust,
    )
    typer.echo(str(report))


def _by_name(option: str, entries: list[str] | None) -> dict[str, str]:
    """The files of entries NAME=FILE, by name; raises BadParameter for any other entry and for a name that is repeated."""
    files: dict[str, str] = {}
    for entry in entries or []:
        name, _, file = entry.partition("=")
        if not (name and file) or name in files:
            raise typer.BadParameter(f"{entry!r} must be NAME=FILE, each NAME once", param_hint=option)
        files[name] = file
    return files
