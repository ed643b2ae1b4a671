"""Arguments and options that several commands have, and how their texts become values."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from recoserve import strict_json
from recoserve.bundle.vocabulary import ExternalId, Vocabulary
from recoserve.errors import MalformedJson

MOST_DIGITS = 29  # beyond any id that a bundle can hold, and far below the length at which Python refuses to convert

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle, or a folder of NAME/VERSION/ bundles.")]
ProviderOption = Annotated[Literal["auto", "cpu", "cuda"] | None, typer.Option(help="ONNX Runtime execution provider.")]
FilterOption = Annotated[
    str, typer.Option("--filter", metavar="JSON", help='Clauses on item columns: {"genres": {"any": ["Comedy"]}}.')
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def external_id(vocabulary: Vocabulary, text: str) -> ExternalId:
    """The id that a text of the command line stands for: a number where the bundle's ids are numbers, if the text is one."""
    if vocabulary.id_type is str:
        return text
    digits = text.removeprefix("-")
    # `isdigit` alone holds for ² as well, and `int` takes "1_000" and " 1", which no id is written as.
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= MOST_DIGITS else text


def parse_filter(text: str) -> Any:
    """The JSON value of `--filter`; raises MalformedJson."""
    try:
        return strict_json.parse(text.encode())
    except MalformedJson as error:
        raise MalformedJson(f"--filter: {error}") from None
