"""What `recoserve inspect` tells, as plain values and lines of text."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from recoserve.bundle.archive import Bundle
from recoserve.bundle.contract import SIDES
from recoserve.bundle.vocabulary import ExternalId
from recoserve.errors import OperatorError
from recoserve.inspection import vectors
from recoserve.inspection.items import Items, readable

NEAREST = 10

Lengths = Mapping[str, vectors.Lengths]  # side -> what there is to say of its vectors' lengths


def lengths(bundle: Bundle) -> Lengths:
    """The lengths of both tables; raises OperatorError where the bundle has no vectors."""
    tables = vectors.user_and_item_vectors(bundle)
    return {side: vectors.lengths(table) for side, table in zip(SIDES, tables, strict=True)}


def length_values(found: Lengths) -> dict[str, Any]:
    """The same for JSON."""
    return {side: asdict(each) for side, each in found.items()}


def length_lines(found: Lengths, cosine: bool) -> list[str]:
    """One line a side; vectors that a cosine made unit length have no quartiles worth a line."""
    lines = []
    for side, each in found.items():
        quartiles = zip(vectors.QUARTILES, each.quartiles, strict=True)
        told = "unit length: cosine" if cosine and each.unit else ", ".join(f"{name} {value:.4g}" for name, value in quartiles)
        lines.append(f"{side}s: {told}; {each.zero:,} of {each.rows:,} are zero")
    return lines


def nearest(bundle: Bundle, text: str, external: ExternalId) -> dict[str, Any]:
    """The item that a text or an id stands for, and the `NEAREST` items around it: ids, titles and cosines.

    Raises OperatorError where the text names no item or several, where its vector is zero, and where the bundle has no vectors.
    """
    _, table = vectors.user_and_item_vectors(bundle)
    items = Items(bundle)
    row = items.find(text, external)
    try:
        rows, scores = vectors.nearest(table, row, NEAREST)
    except OperatorError as error:
        raise OperatorError(f"{items.title(row)} ({readable(str(items.id_of(row)))}): {error}") from None
    near = [{**_named(items, int(other)), "score": float(score)} for other, score in zip(rows, scores, strict=True)]
    return {**_named(items, row), "items": near}


def _named(items: Items, row: int) -> dict[str, Any]:
    return {"item_id": items.id_of(row), "title": items.title(row)}
