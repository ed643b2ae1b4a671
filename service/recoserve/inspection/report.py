"""Computes what `recoserve inspect` prints about vectors, as values for JSON and as lines of text."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from recoserve.bundle.archive import Bundle
from recoserve.bundle.contract import SIDES
from recoserve.bundle.vocabulary import ExternalId
from recoserve.errors import OperatorError
from recoserve.inspection import vectors
from recoserve.inspection.items import ItemTitles, readable
from recoserve.inspection.vectors import LengthSummary

NEAREST = 10


def lengths(bundle: Bundle) -> dict[str, LengthSummary]:
    """A summary of the vectors' lengths for each side, user and item; raises OperatorError where the bundle has no vectors."""
    tables = vectors.user_and_item_vectors(bundle)
    return {side: vectors.summarise_lengths(table) for side, table in zip(SIDES, tables, strict=True)}


def length_values(lengths: Mapping[str, LengthSummary]) -> dict[str, Any]:
    """The summaries as a JSON object."""
    return {side: asdict(summary) for side, summary in lengths.items()}


def length_lines(lengths: Mapping[str, LengthSummary], is_cosine: bool) -> list[str]:
    """The summaries as a line each, without quartiles where a cosine model's vectors all have length 1."""
    lines = []
    for side, summary in lengths.items():
        quartiles = ", ".join(f"{name} {value:.4g}" for name, value in zip(vectors.QUARTILES, summary.quartiles, strict=True))
        description = "unit length: cosine" if is_cosine and summary.unit else quartiles
        lines.append(f"{side}s: {description}; {summary.zero:,} of {summary.rows:,} are zero")
    return lines


def nearest(bundle: Bundle, text: str, external_id: ExternalId) -> dict[str, Any]:
    """The item that `external_id` or `text` names, and the `NEAREST` items to it, as a JSON object: ids, titles and cosines.

    Raises OperatorError where the text names no item or several, where the item's vector is zero, and where there are no vectors.
    """
    _, table = vectors.user_and_item_vectors(bundle)
    items = ItemTitles(bundle)
    row = items.find(text, external_id)
    try:
        rows, cosines = vectors.nearest(table, row, NEAREST)
    except OperatorError as error:
        raise OperatorError(f"{items.title(row)} ({readable(str(items.id_of(row)))}): {error}") from None
    neighbours = [
        {**_id_and_title(items, int(neighbour)), "score": float(cosine)} for neighbour, cosine in zip(rows, cosines, strict=True)
    ]
    return {**_id_and_title(items, row), "items": neighbours}


def _id_and_title(items: ItemTitles, row: int) -> dict[str, Any]:
    return {"item_id": items.id_of(row), "title": items.title(row)}
