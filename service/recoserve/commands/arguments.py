"""Arguments and options that several commands have, and the parsing of ids and filters."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from recoserve import strict_json
from recoserve.bundle.vocabulary import ExternalId, Vocabulary
from recoserve.errors import MalformedJson

MAX_ID_DIGITS = 29  # any number from 19 (the digits of an int64) to 4,300 (beyond which `int` raises ValueError) would do

BundleArgument = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A bundle, or a folder of NAME/VERSION/ bundles with one NAME.")
]
ProviderOption = Annotated[Literal["auto", "cpu", "cuda"] | None, typer.Option(help="ONNX Runtime execution provider.")]
FilterOption = Annotated[
    str, typer.Option("--filter", metavar="JSON", help='Conditions on item metadata, as JSON: {"genres": {"any": ["Comedy"]}}.')
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def parse_external_id(vocabulary: Vocabulary, text: str) -> ExternalId:
    """The id typed as `text`: an integer where the vocabulary's ids are integers and the text is one; otherwise the text itself.

    Where the ids are integers, a text that is returned matches none of them; the code that looks it up reports that.
    """
    if vocabulary.id_type is str:
        return text
    digits = text.removeprefix("-")
    # `int` alone would accept "1_000" and " 1" too, hence `isdigit`; that is true for "²" as well, hence `isascii`.
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= MAX_ID_DIGITS else text


def parse_filter(text: str) -> Any:
    """The JSON value of `--filter`; raises MalformedJson."""
    try:
        return strict_json.parse(text.encode())
    except MalformedJson as error:
        raise MalformedJson(f"--filter: {error}") from None
