"""A scorer of pairs, ready to rank: the item's side computed once for the whole catalogue and stored in pieces.

A piece is a run of consecutive items whose pairs with one user are scored together; a table holds their values piece by piece.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from recoserve_export.graph.dot_score import EmbeddingTable
from recoserve_export.graph.monotone_tail import Tail
from recoserve_export.graph.network import Arrays, Input
from recoserve_export.graph.pair_scorer import PairScorer, batches
from recoserve_export.graph.program import LARGE_BYTES, Program
from recoserve_export.partial.builder import live_nodes
from recoserve_export.partial.result import DotProductScore, NotSeparable, SplitScorer
from recoserve_export.partial.values import ITEM, PAIR, USER
from recoserve_export.write.tensors import ExternalTensor, TensorFile
from recoserve_export.write.transposed import transpose

# Float32 numbers in the widest value of one piece. A smaller piece stays in a nearer cache, but threads wait for each other at
# every operator of every piece: a user took 4.6 ms at 2^17, 3.3 ms at 2^19 and 3.2 ms at 2^20 (decision 14).
PIECE_NUMBERS = 1 << 19
SMALLEST_PIECE, LARGEST_PIECE = 1 << 8, 1 << 14  # items
RUN_ROWS = 1 << 15  # rows of a side computed at once: a multiple of every size of a piece, so that only the last run needs padding


@dataclass(frozen=True)
class ItemTables:
    """The items' values in the tensor file, by name, of `items` items in pieces of `piece_items`.

    Each table is [pieces, piece_items, *shape] with the last item repeated, or [pieces, width, piece_items] where `transposed`.
    """

    tensors: Mapping[str, ExternalTensor]
    items: int
    piece_items: int
    transposed: bool


@dataclass(frozen=True)
class PreparedScorer:
    """What the graphs of a scorer of pairs are made of.

    `user_nodes` make `user_values` of a user's row, and `pair_nodes` make `score` of these and of the item tables. The tensor file
    also holds `large_constants` and, where the model's row of a user is another than the bundle's, the `model_rows` of all users.
    """

    opset: int
    users: int
    user: Input
    user_nodes: Sequence[onnx.NodeProto]
    user_values: Sequence[str]
    pair_nodes: Sequence[onnx.NodeProto]
    score: str
    tail: Tail
    constants: Arrays
    large_constants: Mapping[str, ExternalTensor]
    model_rows: ExternalTensor | None
    item_tables: ItemTables


def prepare(path: Path, scorer: PairScorer, split: SplitScorer) -> PreparedScorer:
    """Write the tensor file at `path`; `split.score` is a value of the pair program.

    Raises ExportRefused where a program can't run, and NotSeparable where one side comes to NaN or infinity when it is computed by
    itself: the model may never show it, for what it does with both sides may hide it.
    """
    programs, score = split.programs, str(split.score)
    values = {side: [value.name for value in programs.pair_inputs.values() if value.side == side] for side in (USER, ITEM)}
    user_nodes, pair_nodes = live_nodes(programs.nodes[USER], values[USER]), live_nodes(programs.nodes[PAIR], [score])
    constants = programs.constants
    transposed = transpose(pair_nodes, score, programs.pair_inputs, constants)
    if transposed:
        pair_nodes, turned_constants = transposed
        constants = constants | turned_constants
    used = {name for node in (*user_nodes, *pair_nodes) for name in node.input}
    constants = {name: array for name, array in constants.items() if name in used}
    file = TensorFile(path)
    large = {name: file.add(name, array) for name, array in constants.items() if array.nbytes >= LARGE_BYTES}
    model_rows = file.add("user_rows", scorer.model_rows["user"]) if "user" in scorer.model_rows else None
    _check_side(scorer, split, USER, values[USER])
    piece_items = _piece_items(programs.widest_row, scorer.item_count)
    tensors = _write_item_tables(file, scorer, split, values[ITEM], piece_items, transposed is not None)
    return PreparedScorer(
        opset=programs.opset,
        users=scorer.user_count,
        user=scorer.source.network.inputs[scorer.source.user],
        user_nodes=user_nodes,
        user_values=values[USER],
        pair_nodes=pair_nodes,
        score=score,
        tail=split.tail,
        constants={name: array for name, array in constants.items() if name not in large},
        large_constants=large,
        model_rows=model_rows,
        item_tables=ItemTables(tensors, scorer.item_count, piece_items, transposed is not None),
    )


def vector_tables(scorer: PairScorer, split: SplitScorer, vectors: DotProductScore) -> tuple[EmbeddingTable, EmbeddingTable]:
    """The vectors of a model that is one dot product, [users, d] and [items, d].

    Raises ExportRefused where a program can't run, and NotSeparable where a vector holds NaN or infinity.
    """
    return _vector_table(scorer, split, vectors, USER), _vector_table(scorer, split, vectors, ITEM)


def _vector_table(scorer: PairScorer, split: SplitScorer, vectors: DotProductScore, side: str) -> EmbeddingTable:
    factors = [of_sides[side == ITEM] for of_sides in vectors.factors]
    names = sorted({name for name in factors if name is not None})
    table = np.empty((0, 0), np.float32)
    for run, arrays in _runs(scorer, split, side, names):
        values = {name: array.reshape(len(array), -1) for name, array in zip(names, arrays, strict=True)}
        ones = np.ones((run.stop - run.start, 1), np.float32)  # a bias of the other side is multiplied by 1
        rows = np.hstack([ones if name is None else values[name] for name in factors])
        if not table.size:
            table = np.empty((scorer.user_count if side == USER else scorer.item_count, rows.shape[1]), np.float32)
        table[run] = rows
    return EmbeddingTable(f"{side}_vectors", table)


def _piece_items(widest_row: int, items: int) -> int:
    """Items in one piece: a power of two, by the numbers in a pair's widest_row value, or all items of a small catalogue."""
    fitting: int = 1 << (PIECE_NUMBERS // widest_row).bit_length() - 1 if widest_row <= PIECE_NUMBERS else 1
    return min(max(SMALLEST_PIECE, min(fitting, LARGEST_PIECE)), items)


def _check_side(scorer: PairScorer, split: SplitScorer, side: str, names: Sequence[str]) -> None:
    """Compute all of a side's values for nothing but their check: the graphs compute a user's side anew at each request."""
    for _ in _runs(scorer, split, side, names):
        pass


def _write_item_tables(
    file: TensorFile, scorer: PairScorer, split: SplitScorer, names: Sequence[str], piece_items: int, transposed: bool
) -> dict[str, ExternalTensor]:
    tensors: dict[str, ExternalTensor] = {}
    for run, arrays in _runs(scorer, split, ITEM, names):
        for name, array in zip(names, arrays, strict=True):
            pieces = _in_pieces(array, piece_items, transposed)
            if name not in tensors:
                tensors[name] = file.reserve(name, (-(-scorer.item_count // piece_items), *pieces.shape[1:]), pieces.dtype)
            file.write_rows(tensors[name], run.start // piece_items, pieces)
    return tensors


def _in_pieces(array: NDArray[Any], piece_items: int, transposed: bool) -> NDArray[Any]:
    """Rows [n, *shape] as [pieces, piece_items, *shape], or as [pieces, width, piece_items]; the last row fills the last piece."""
    count = -(-len(array) // piece_items)
    padded = np.concatenate([array, np.repeat(array[-1:], count * piece_items - len(array), axis=0)])
    pieces = padded.reshape(count, piece_items, *array.shape[1:])
    return pieces.reshape(count, piece_items, -1).transpose(0, 2, 1) if transposed else pieces


def _runs(scorer: PairScorer, split: SplitScorer, side: str, names: Sequence[str]) -> Iterator[tuple[slice, list[NDArray[Any]]]]:
    """Values of one side's program, called `names`, for all its rows, some at a time; NotSeparable where one is NaN or infinity."""
    if not names:
        return
    programs, inputs = split.programs, scorer.source.network.inputs
    dtypes = {name: graph_input.dtype for name, graph_input in inputs.items()}
    program = Program(programs.nodes[side], programs.constants, dtypes, names, programs.opset)
    for run in batches(scorer.user_count if side == USER else scorer.item_count, RUN_ROWS):
        rows = np.arange(run.start, run.stop)
        arrays = program.run(scorer.user_feeds(rows) if side == USER else scorer.item_feeds(rows))
        for array in arrays:
            _check_finite(side, run.start, array)
        yield run, arrays


def _check_finite(side: str, start: int, array: NDArray[Any]) -> None:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    row = start + int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0])
    raise NotSeparable(f"taken by itself, the {side}'s side of row {row} is {array.reshape(len(array), -1)[row - start].flat[0]}")
