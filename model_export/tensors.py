"""The tables of a bundle in one file of raw float32, written in pieces: never a second whole copy in memory."""

from dataclasses import dataclass
from pathlib import Path

from model_export.formula import Formula, Table
from service.bundle import contract


@dataclass(frozen=True)
class Span:
    """Where one tensor lies in the file: `offset` and `length` in bytes."""

    name: str
    dims: tuple[int, int]
    offset: int
    length: int


def write(path: Path, users: Table, items: Table, formula: Formula) -> tuple[Span, Span]:
    """Write `user_table` float32 [U, d] and `item_table` float32 [N, d], each from a page's start, as `formula` multiplies them.

    Zeros fill the last block of items, so that a graph may read whole blocks.
    """
    user_span = _span(contract.USER_TABLE, users, 0)
    item_span = _span(contract.ITEM_TABLE, items, -(-user_span.length // contract.PAGE) * contract.PAGE)
    with open(path, "wb") as file:
        for span, table in ((user_span, users), (item_span, items)):
            file.seek(span.offset)
            for _, block in table.blocks():
                file.write(formula.vectors(block).astype("<f4").tobytes())
        file.truncate(item_span.offset + 4 * items.width * padded(items.rows))
    return user_span, item_span


def padded(rows: int) -> int:
    """Rows up to the end of the last block."""
    return -(-rows // contract.BLOCK) * contract.BLOCK


def _span(name: str, table: Table, offset: int) -> Span:
    return Span(name, (table.rows, table.width), offset, 4 * table.rows * table.width)
