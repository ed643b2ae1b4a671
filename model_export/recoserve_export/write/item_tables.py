"""A scorer of pairs, made ready to rank: the item's side run once over the whole catalogue, its values laid out in pieces."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from recoserve_export.graph.dot_score import Table
from recoserve_export.graph.monotone_tail import Tail
from recoserve_export.graph.network import Arrays, Input
from recoserve_export.graph.pair_scorer import Pairs, batches
from recoserve_export.graph.program import LARGE, Program
from recoserve_export.partial.result import Evaluated, NotApart, Vectors
from recoserve_export.partial.values import ITEM, PAIR, USER, needed
from recoserve_export.write.tensors import Layout, Span
from recoserve_export.write.transposed import in_columns

PIECE_NUMBERS = 1 << 19  # float32 numbers in the widest value of one piece: less, and two threads wait for each other more often
SMALLEST_PIECE, LARGEST_PIECE = 1 << 8, 1 << 14
ITEM_RUN = 1 << 15  # rows in one run of a side: whole pieces, or all of a small catalogue


@dataclass(frozen=True)
class Ranker:
    """What the graphs are made of: `user_nodes` make `user_values` of a user's row, `pair_nodes` make `score` of both sides'.

    `tables` are the item's values by name, in the tensor file: [pieces, piece, *shape] with the last item repeated, or
    [pieces, width, piece] where the program of pairs has them in `columns`; `large` are the constants that lie there too, and
    `user_rows` the model's row of each user, where it is another.
    """

    opset: int
    user: Input
    user_nodes: Sequence[onnx.NodeProto]
    user_values: Sequence[str]
    pair_nodes: Sequence[onnx.NodeProto]
    score: str
    tail: Tail
    constants: Arrays
    tables: Mapping[str, Span]
    large: Mapping[str, Span]
    user_rows: Span | None
    users: int
    items: int
    piece: int
    columns: bool


def prepare(path: Path, pairs: Pairs, found: Evaluated) -> Ranker:
    """Write the tensor file at `path`; `found.score` is a value of pairs.

    Raises ExportRefused, and NotApart where a side alone comes to NaN or infinity, which the whole model may never do.
    """
    made, score = found.programs, str(found.score)
    values = {side: [one.name for one in made.crossing.values() if one.side == side] for side in (USER, ITEM)}
    nodes = {USER: needed(made.nodes[USER], values[USER]), PAIR: needed(made.nodes[PAIR], [score])}
    turned = in_columns(nodes[PAIR], score, made.crossing, made.constants)
    known = made.constants
    if turned:
        nodes[PAIR], constants_of_pairs = turned
        known = known | constants_of_pairs
    used = {name for side in nodes.values() for node in side for name in node.input}
    constants = {name: array for name, array in known.items() if name in used}
    piece = _piece(made.widest, pairs.items)
    layout = Layout(path)
    large = {name: layout.add(name, array) for name, array in constants.items() if array.nbytes >= LARGE}
    user_rows = layout.add("user_rows", pairs.model_rows["user"]) if "user" in pairs.model_rows else None
    for _ in _runs(pairs, found, USER, values[USER]):
        pass  # every user's side is looked at now, for it is computed again at each request
    tables = _tables(layout, pairs, found, values[ITEM], piece, turned is not None)
    return Ranker(
        opset=made.opset,
        user=pairs.source.network.inputs[pairs.source.user],
        user_nodes=nodes[USER],
        user_values=values[USER],
        pair_nodes=nodes[PAIR],
        score=score,
        tail=found.tail,
        constants={name: array for name, array in constants.items() if name not in large},
        tables=tables,
        large=large,
        user_rows=user_rows,
        users=pairs.users,
        items=pairs.items,
        piece=piece,
        columns=turned is not None,
    )


def vector_tables(pairs: Pairs, found: Evaluated, vectors: Vectors) -> tuple[Table, Table]:
    """Both sides' vectors of a dot product, [users, d] and [items, d]; raises ExportRefused, and NotApart as `prepare` does."""
    return _vectors(pairs, found, vectors, USER), _vectors(pairs, found, vectors, ITEM)


def _vectors(pairs: Pairs, found: Evaluated, vectors: Vectors, side: str) -> Table:
    pieces = [piece[side == ITEM] for piece in vectors.pieces]
    names = sorted({name for name in pieces if name is not None})
    table = np.empty((0, 0), np.float32)
    for part, arrays in _runs(pairs, found, side, names):
        rows = {name: array.reshape(len(array), -1) for name, array in zip(names, arrays, strict=True)}
        ones = np.ones((part.stop - part.start, 1), np.float32)
        joined = np.hstack([ones if name is None else rows[name] for name in pieces])
        if not table.size:
            table = np.empty((pairs.users if side == USER else pairs.items, joined.shape[1]), np.float32)
        table[part] = joined
    return Table(f"{side}_vectors", table)


def _piece(widest: int, items: int) -> int:
    """Items in one piece, a power of two, or all of a small catalogue."""
    fitting: int = 1 << (PIECE_NUMBERS // widest).bit_length() - 1 if widest <= PIECE_NUMBERS else 1
    return min(max(SMALLEST_PIECE, min(fitting, LARGEST_PIECE)), items)


def _tables(layout: Layout, pairs: Pairs, found: Evaluated, names: Sequence[str], piece: int, columns: bool) -> dict[str, Span]:
    tables: dict[str, Span] = {}
    for part, arrays in _runs(pairs, found, ITEM, names):
        for name, array in zip(names, arrays, strict=True):
            cut = _cut(array, piece, columns)
            if name not in tables:
                tables[name] = layout.reserve(name, (-(-pairs.items // piece), *cut.shape[1:]), cut.dtype)
            layout.write(tables[name], part.start // piece, cut)
    return tables


def _cut(array: NDArray[Any], piece: int, columns: bool) -> NDArray[Any]:
    """Rows as whole pieces, the last one repeated: [rows, *shape] -> [pieces, piece, *shape], or [pieces, width, piece]."""
    pieces = -(-len(array) // piece)
    padded = np.concatenate([array, np.repeat(array[-1:], pieces * piece - len(array), axis=0)])
    cut = padded.reshape(pieces, piece, *array.shape[1:])
    return cut.reshape(pieces, piece, -1).transpose(0, 2, 1) if columns else cut


def _runs(pairs: Pairs, found: Evaluated, side: str, names: Sequence[str]) -> Iterator[tuple[slice, list[NDArray[Any]]]]:
    """Values of one side's program for all its rows, some at a time; raises NotApart where one holds NaN or infinity."""
    if not names:
        return
    made, inputs = found.programs, pairs.source.network.inputs
    program = Program(made.nodes[side], made.constants, {name: each.dtype for name, each in inputs.items()}, names, made.opset)
    for part in batches(pairs.users if side == USER else pairs.items, ITEM_RUN):
        rows = np.arange(part.start, part.stop)
        values = program.run(pairs.user_feeds(rows) if side == USER else pairs.item_feeds(rows))
        for array in values:
            _check_finite(side, part.start, array)
        yield part, values


def _check_finite(side: str, start: int, array: NDArray[Any]) -> None:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    row = start + int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0])
    raise NotApart(f"taken by itself, the {side}'s side of row {row} is {array.reshape(len(array), -1)[row - start].flat[0]}")
