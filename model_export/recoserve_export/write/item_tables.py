"""Prepares a pair scorer for its graphs: computes the item's side once for all items, and writes it as tables in tiles.

A tile is a number of consecutive items whose pairs with one user are scored together; a table holds their values tile by tile.
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

# Float32 numbers in the widest value of one tile. A smaller tile stays in a nearer cache, but threads wait for each other at every
# operator of every tile: a user took 4.6 ms at 2^17, 3.3 ms at 2^19 and 3.2 ms at 2^20 (decision 14).
TILE_NUMBERS = 1 << 19
MIN_TILE_ITEMS, MAX_TILE_ITEMS = 1 << 8, 1 << 14
BATCH_ROWS = 1 << 15  # rows of a side computed at once; a multiple of every tile size, so that only the last batch needs padding


@dataclass(frozen=True)
class ItemTables:
    """The values of `item_count` items in the tensor file, by name, in tiles of `tile_items` items.

    Each table is [tiles, tile_items, *row_shape], or [tiles, width, tile_items] if `transposed`. The last item is repeated to fill
    the last tile.
    """

    tensors: Mapping[str, ExternalTensor]
    item_count: int
    tile_items: int
    transposed: bool


@dataclass(frozen=True)
class PreparedScorer:
    """Everything that the graphs of a ranker are made of.

    `user_nodes` compute `user_values` from `user_input`, and `pair_nodes` compute `score` from these and the item tables. The
    tensor file also holds `large_constants` and, if the model's row of a user isn't the bundle's, the `model_rows` of all users.
    """

    opset: int
    user_count: int
    user_input: Input
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
    """Write the tensor file at `path` and return what the graphs need; `split.score` must be a value of the pair program.

    Raises ExportRefused if a program can't run, and NotSeparable if one side, computed by itself, has a value of NaN or infinity.
    The model's own scores may be finite all the same, if it masks such values when it joins the sides.
    """
    programs, score = split.programs, str(split.score)
    value_names = {side: [value.name for value in programs.pair_inputs.values() if value.side == side] for side in (USER, ITEM)}
    user_nodes, pair_nodes = live_nodes(programs.nodes[USER], value_names[USER]), live_nodes(programs.nodes[PAIR], [score])
    constants = programs.constants
    transposed = transpose(pair_nodes, score, programs.pair_inputs, constants)
    if transposed:
        pair_nodes, transposed_constants = transposed
        constants = constants | transposed_constants
    used_names = {name for node in (*user_nodes, *pair_nodes) for name in node.input}
    constants = {name: array for name, array in constants.items() if name in used_names}
    file = TensorFile(path)
    large = {name: file.add(name, array) for name, array in constants.items() if array.nbytes >= LARGE_BYTES}
    model_rows = file.add("user_rows", scorer.model_rows["user"]) if "user" in scorer.model_rows else None
    _check_side(scorer, split, USER, value_names[USER])
    tile_items = _tile_items(programs.widest_row, scorer.item_count)
    tensors = _write_item_tables(file, scorer, split, value_names[ITEM], tile_items, transposed is not None)
    return PreparedScorer(
        opset=programs.opset,
        user_count=scorer.user_count,
        user_input=scorer.source.network.inputs[scorer.source.user],
        user_nodes=user_nodes,
        user_values=value_names[USER],
        pair_nodes=pair_nodes,
        score=score,
        tail=split.tail,
        constants={name: array for name, array in constants.items() if name not in large},
        large_constants=large,
        model_rows=model_rows,
        item_tables=ItemTables(tensors, scorer.item_count, tile_items, transposed is not None),
    )


def vector_tables(scorer: PairScorer, split: SplitScorer, vectors: DotProductScore) -> tuple[EmbeddingTable, EmbeddingTable]:
    """The vectors of a model that is one dot product, [users, d] and [items, d].

    Raises ExportRefused if a program can't run, and NotSeparable if a vector holds NaN or infinity.
    """
    return _vector_table(scorer, split, vectors, USER), _vector_table(scorer, split, vectors, ITEM)


def _vector_table(scorer: PairScorer, split: SplitScorer, vectors: DotProductScore, side: str) -> EmbeddingTable:
    """The vectors of one side: in each row, the side's factors one after the other."""
    factors = [user_factor if side == USER else item_factor for user_factor, item_factor in vectors.factors]
    names = sorted({name for name in factors if name is not None})
    table = np.empty((0, 0), np.float32)  # until the first batch says how wide a row is
    for batch, arrays in _side_values(scorer, split, side, names):
        values = {name: array.reshape(len(array), -1) for name, array in zip(names, arrays, strict=True)}
        ones = np.ones((batch.stop - batch.start, 1), np.float32)  # a bias of the other side is multiplied by 1
        rows = np.hstack([ones if name is None else values[name] for name in factors])
        if not table.size:
            table = np.empty((scorer.user_count if side == USER else scorer.item_count, rows.shape[1]), np.float32)
        table[batch] = rows
    return EmbeddingTable(f"{side}_vectors", table)


def _tile_items(widest_row: int, item_count: int) -> int:
    """How many items a tile has: the largest power of two, within the limits above, with which its widest value has TILE_NUMBERS.

    All items, if there are fewer. `widest_row` is the size of the widest value for one pair.
    """
    fitting: int = 1 << (TILE_NUMBERS // widest_row).bit_length() - 1 if widest_row <= TILE_NUMBERS else 1
    return min(max(MIN_TILE_ITEMS, min(fitting, MAX_TILE_ITEMS)), item_count)


def _check_side(scorer: PairScorer, split: SplitScorer, side: str, names: Sequence[str]) -> None:
    """Compute all values of a side only to check that they are finite: the graphs compute a user's values again at each request."""
    for _ in _side_values(scorer, split, side, names):
        pass


def _write_item_tables(
    file: TensorFile, scorer: PairScorer, split: SplitScorer, names: Sequence[str], tile_items: int, transposed: bool
) -> dict[str, ExternalTensor]:
    tensors: dict[str, ExternalTensor] = {}
    for batch, arrays in _side_values(scorer, split, ITEM, names):
        for name, array in zip(names, arrays, strict=True):
            tiles = _in_tiles(array, tile_items, transposed)
            if name not in tensors:
                tensors[name] = file.reserve(name, (-(-scorer.item_count // tile_items), *tiles.shape[1:]), tiles.dtype)
            file.write_rows(tensors[name], batch.start // tile_items, tiles)
    return tensors


def _in_tiles(array: NDArray[Any], tile_items: int, transposed: bool) -> NDArray[Any]:
    """Rows [n, *row_shape] as [tiles, tile_items, *row_shape], or transposed as [tiles, width, tile_items].

    The last row is repeated to fill the last tile.
    """
    tile_count = -(-len(array) // tile_items)
    padded = np.concatenate([array, np.repeat(array[-1:], tile_count * tile_items - len(array), axis=0)])
    tiles = padded.reshape(tile_count, tile_items, *array.shape[1:])
    return tiles.reshape(tile_count, tile_items, -1).transpose(0, 2, 1) if transposed else tiles


def _side_values(
    scorer: PairScorer, split: SplitScorer, side: str, names: Sequence[str]
) -> Iterator[tuple[slice, list[NDArray[Any]]]]:
    """The values called `names` of one side's program for all rows of the side: slices of rows, and the values of each slice.

    Raises NotSeparable if a value is NaN or infinity.
    """
    if not names:
        return
    programs, inputs = split.programs, scorer.source.network.inputs
    dtypes = {name: graph_input.dtype for name, graph_input in inputs.items()}
    program = Program(programs.nodes[side], programs.constants, dtypes, names, programs.opset)
    for batch in batches(scorer.user_count if side == USER else scorer.item_count, BATCH_ROWS):
        rows = np.arange(batch.start, batch.stop)
        arrays = program.run(scorer.user_feeds(rows) if side == USER else scorer.item_feeds(rows))
        for array in arrays:
            _check_finite(side, batch.start, array)
        yield batch, arrays


def _check_finite(side: str, first_row: int, array: NDArray[Any]) -> None:
    """Raise NotSeparable if a value of a side, in the rows from `first_row` on, is NaN or infinity."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    values = array.reshape(len(array), -1)
    position = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
    number = values[position][~np.isfinite(values[position])][0]
    raise NotSeparable(f"computed by itself, the {side}'s side of row {first_row + position} has a value of {number}")
