"""The screen: an int8 copy of the catalogue that gives every block of items an upper bound, and the graphs that use it.

For a query q and an item v, with q' and v' what is left of them after rounding,

    q·v = q'·v' + (q - q')·v' + q·(v - v')  <=  q'·v' + |q - q'| |v'| + |q| |v - v'|        (Cauchy-Schwarz)

so the largest q'·v' in a block, plus |q - q'| times the block's largest |v'|, plus |q| times its largest |v - v'|, is a
bound that no item in it can beat. Both sides are turned by one orthogonal matrix first (`rotation`), which changes no product:
so that rounding to int8 loses less, and so that the first dimensions tell most, where a few can.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from recoserve.bundle import contract
from recoserve.bundle.arrays import Float64Array
from recoserve_export.graph.dot_score import Formula, Table
from recoserve_export.write import dot_graphs
from recoserve_export.write.rotation import rotation_of
from recoserve_export.write.tensors import Span, padded

CHUNK = 1 << 17  # items per product: fewer products suit single queries, smaller ones batches, whose int32 scores stay in cache
MANY_ITEMS, LARGE_CHUNK = 1 << 22, 1 << 18
LEVELS = 127  # of int8, for items
SMALLEST = 1e-30  # the least a step may be
EPSILON = float(np.finfo(np.float32).eps)
UINT8, INT64, FLOAT = TensorProto.UINT8, TensorProto.INT64, TensorProto.FLOAT


@dataclass(frozen=True)
class Piece:
    """One chunk of the int8 copy: where it lies, [d, items]."""

    dims: tuple[int, int]
    offset: int


@dataclass(frozen=True)
class Screen:
    """What the bounds are made of: `step`, `error` and `norm` float32 [blocks], `rotation` float32 [d, d]."""

    pieces: list[Piece]
    step: NDArray[np.float32]
    error: NDArray[np.float32]
    norm: NDArray[np.float32]
    rotation: NDArray[np.float32]


def write(folder: Path, users: Span, items: Span, table: Table, formula: Formula) -> None:
    """Write `screen.bin` and its graphs beside the tables that `users` and `items` describe; a tail's own where there is one."""
    screen = _write_pieces(folder / contract.SCREEN_TENSORS, table, formula)
    blocks = Span(contract.ITEM_BLOCKS, (padded(table.rows), table.width), items.offset)
    dot_graphs.save(folder / contract.SCREEN_GRAPHS[contract.USER], _user(users))
    dot_graphs.save(folder / contract.SCREEN_GRAPHS[contract.SCREEN], _screen(screen))
    dot_graphs.save(folder / contract.SCREEN_GRAPHS[contract.RESCORE], _rescore(blocks, formula))
    if formula.tail:
        dot_graphs.save(folder / contract.FINISH_GRAPHS[contract.FINISH], _finish(formula))


def _write_pieces(path: Path, table: Table, formula: Formula) -> Screen:
    rotation = rotation_of(_rows(table, formula), table.width)
    pieces, steps, errors, norms = [], [], [], []
    with open(path, "wb") as file:
        for rows in _chunks(table, formula):
            turned = rows @ rotation
            steps.append(_steps(turned))
            scale = np.repeat(steps[-1].astype(np.float64), contract.BLOCK)[:, None]
            small = np.clip(np.round(turned / scale), -LEVELS, LEVELS)
            pieces.append(_append(file, small.astype(np.int8)))
            kept = small * scale
            errors.append(_largest(turned - kept) + _slack(table.width) * _largest(rows))
            norms.append(_largest(kept))
    bounds = _round_up(np.concatenate(errors)), _round_up(np.concatenate(norms))
    return Screen(pieces, np.concatenate(steps), *bounds, rotation.astype(np.float32))


def _chunks(table: Table, formula: Formula) -> Iterator[Float64Array]:
    """The items as the graphs read them, a piece at a time, in whole blocks, zeros behind the last."""
    chunk = CHUNK if table.rows < MANY_ITEMS else LARGE_CHUNK
    for at in range(0, table.rows, chunk):
        rows = _as_read(np.asarray(table.values[at : at + chunk]), formula)
        yield np.pad(rows, ((0, padded(len(rows)) - len(rows)), (0, 0)))


def _rows(table: Table, formula: Formula) -> Iterator[Float64Array]:
    return (_as_read(block, formula) for _, block in table.blocks())


def _as_read(block: NDArray[np.float32], formula: Formula) -> Float64Array:
    """Items as the graphs read them: float64 of float32 values."""
    return formula.vectors(block).astype(np.float32).astype(np.float64)


def _steps(turned: Float64Array) -> NDArray[np.float32]:
    """The size of each block's steps, exactly as the graph has it; where a float32 has no digits left, rows round to nothing."""
    peaks = np.abs(turned).reshape(-1, contract.BLOCK * turned.shape[1]).max(axis=1)
    steps = (peaks / LEVELS).astype(np.float32)
    return np.where(steps > SMALLEST, steps, np.float32(1))


def _slack(dim: int) -> float:
    """What float32 arithmetic may add to a product of vectors of length 1: in the rotation, the bound, and the rescoring."""
    return 2 * (dim + 16) * EPSILON


def _largest(rows: Float64Array) -> Float64Array:
    """The largest length in each block: [n * BLOCK, d] -> [n]."""
    lengths: Float64Array = np.linalg.norm(rows, axis=1).reshape(-1, contract.BLOCK).max(axis=1)
    return lengths


def _round_up(values: Float64Array) -> NDArray[np.float32]:
    return np.nextafter(values.astype(np.float32), np.float32(np.inf))


def _append(file: BinaryIO, small: NDArray[np.int8]) -> Piece:
    offset = -(-file.tell() // contract.PAGE) * contract.PAGE
    file.seek(offset)
    file.write(np.ascontiguousarray(small.T).tobytes())
    return Piece((small.shape[1], small.shape[0]), offset)


def _user(users: Span) -> onnx.GraphProto:
    """user_id int64 [B] -> query float32 [B, d]."""
    nodes = [*dot_graphs.guard(contract.USER_ID), helper.make_node("Gather", [users.name, "user_id_checked"], [contract.QUERY])]
    inputs = [dot_graphs.value(contract.USER_ID, INT64, ["batch"])]
    outputs = [dot_graphs.value(contract.QUERY, FLOAT, ["batch", users.dims[1]])]
    constants = [dot_graphs.external(users), _constant("zero", 0), _constant("user_id_rows", [users.dims[0]])]
    return helper.make_graph(nodes, contract.USER, inputs, outputs, constants)


def _rescore(blocks: Span, formula: Formula) -> onnx.GraphProto:
    """query float32 [B, d], query_row and block int64 [P] -> product and score float32 [P, BLOCK]."""
    rows, width = blocks.dims
    same = [helper.make_node("Identity", [contract.PRODUCT], [contract.SCORE_OUT])]
    nodes = [
        helper.make_node("Gather", [blocks.name, contract.BLOCK_ROW], ["rows"]),
        helper.make_node("Gather", [contract.QUERY, contract.QUERY_ROW], ["queries"]),
        helper.make_node("Unsqueeze", ["queries", "two"], ["columns"]),
        helper.make_node("MatMul", ["rows", "columns"], ["products"]),
        helper.make_node("Squeeze", ["products", "two"], [contract.PRODUCT]),
        *(dot_graphs.finish(contract.PRODUCT, formula.tail) or same),
    ]
    inputs = [
        dot_graphs.value(contract.QUERY, FLOAT, ["batch", width]),
        dot_graphs.value(contract.QUERY_ROW, INT64, ["pairs"]),
        dot_graphs.value(contract.BLOCK_ROW, INT64, ["pairs"]),
    ]
    outputs = [dot_graphs.value(name, FLOAT, ["pairs", contract.BLOCK]) for name in (contract.PRODUCT, contract.SCORE_OUT)]
    table = dot_graphs.external(blocks)
    del table.dims[:]
    table.dims.extend((rows // contract.BLOCK, contract.BLOCK, width))
    return helper.make_graph(nodes, contract.RESCORE, inputs, outputs, [table, _constant("two", [2])])


def _finish(formula: Formula) -> onnx.GraphProto:
    """product float32 [n] -> score float32 [n], by the operators that `_rescore` has behind its product."""
    inputs = [dot_graphs.value(contract.PRODUCT, FLOAT, ["products"])]
    outputs = [dot_graphs.value(contract.SCORE_OUT, FLOAT, ["products"])]
    return helper.make_graph(dot_graphs.finish(contract.PRODUCT, formula.tail), contract.FINISH, inputs, outputs)


def _screen(screen: Screen) -> onnx.GraphProto:
    """query float32 [B, d], levels float32 [1], blocks int64 [1] -> what `contract` says; the n blocks of the catalogue."""
    width, count = len(screen.rotation), len(screen.error)
    scans = [node for number in range(len(screen.pieces)) for node in _scan(number)]
    maxima = [f"units_{number}" for number in range(len(screen.pieces))]
    nodes = [*_rounded_query(), *scans, helper.make_node("Concat", maxima, ["units"], axis=1), *_bounds()]
    inputs = [
        dot_graphs.value(contract.QUERY, FLOAT, ["batch", width]),
        dot_graphs.value(contract.LEVELS, FLOAT, [1]),
        dot_graphs.value(contract.BLOCKS, INT64, [1]),
    ]
    outputs = [
        dot_graphs.value(contract.BOUND, FLOAT, ["batch", count]),
        dot_graphs.value(contract.UNIT, FLOAT, ["batch", 1]),
        dot_graphs.value(contract.BEST_BOUND, FLOAT, ["batch", "blocks"]),
        dot_graphs.value(contract.BEST_BLOCK, INT64, ["batch", "blocks"]),
    ]
    return helper.make_graph(nodes, contract.SCREEN, inputs, outputs, [*_screen_constants(screen), *_items8(screen)])


def _rounded_query() -> list[onnx.NodeProto]:
    """The turned query in whole steps around a zero of `levels` + 1, and the lengths of the query and of what rounding lost."""
    return [
        helper.make_node("Add", [contract.LEVELS, "one_float"], ["zero_float"]),
        helper.make_node("Squeeze", ["zero_float"], ["zero_scalar"]),
        helper.make_node("Cast", ["zero_scalar"], ["query_zero"], to=UINT8),
        helper.make_node("MatMul", [contract.QUERY, "rotation"], ["turned"]),
        helper.make_node("Abs", ["turned"], ["magnitude"]),
        helper.make_node("ReduceMax", ["magnitude", "one"], ["peak"], keepdims=1),
        helper.make_node("Max", ["peak", "smallest"], ["peak_held"]),
        helper.make_node("Div", ["peak_held", contract.LEVELS], [contract.UNIT]),
        helper.make_node("Div", ["turned", contract.UNIT], ["steps"]),
        helper.make_node("Round", ["steps"], ["whole"]),
        helper.make_node("Add", ["whole", "zero_float"], ["shifted"]),
        helper.make_node("Cast", ["shifted"], ["query8"], to=UINT8),
        helper.make_node("Mul", ["whole", contract.UNIT], ["kept"]),
        helper.make_node("Sub", ["turned", "kept"], ["lost"]),
        helper.make_node("ReduceL2", ["lost", "one"], ["query_error"], keepdims=1),
        helper.make_node("ReduceL2", [contract.QUERY, "one"], ["query_norm"], keepdims=1),
    ]


def _scan(number: int) -> list[onnx.NodeProto]:
    """The largest product of each block of one chunk, in units of both scales."""
    dots, blocked = f"dots_{number}", f"blocked_{number}"
    return [
        helper.make_node("MatMulInteger", ["query8", f"items8_{number}", "query_zero"], [dots]),
        helper.make_node("Reshape", [dots, "per_block"], [blocked]),
        helper.make_node("ReduceMax", [blocked, "two"], [f"units_{number}"], keepdims=0),
    ]


def _bounds() -> list[onnx.NodeProto]:
    """Each block's bound in the query's own units, by operators that read and write the long rows as seldom as they can."""
    return [
        helper.make_node("Cast", ["units"], ["in_steps"], to=FLOAT),
        helper.make_node("Mul", ["in_steps", "block_step"], ["approximate"]),
        helper.make_node("Concat", ["query_norm", "query_error"], ["query_lengths"], axis=1),
        helper.make_node("Div", ["query_lengths", contract.UNIT], ["lengths_in_units"]),
        helper.make_node("Gemm", ["lengths_in_units", "block_lengths", "approximate"], [contract.BOUND]),
        helper.make_node("Min", [contract.BLOCKS, "block_count"], ["blocks_held"]),
        helper.make_node("TopK", [contract.BOUND, "blocks_held"], ["best", contract.BEST_BLOCK], axis=1),
        helper.make_node("Mul", ["best", contract.UNIT], [contract.BEST_BOUND]),
    ]


def _screen_constants(screen: Screen) -> Iterator[TensorProto]:
    yield from (_constant("one", [1]), _constant("two", [2]), _constant("per_block", [0, -1, contract.BLOCK]))
    yield _constant("block_count", [len(screen.error)])
    floats = {"one_float": 1.0, "smallest": SMALLEST}
    yield from (numpy_helper.from_array(np.array(number, np.float32), name) for name, number in floats.items())
    arrays = {"rotation": screen.rotation, "block_step": screen.step[None], "block_lengths": np.stack([screen.error, screen.norm])}
    yield from (numpy_helper.from_array(array, name) for name, array in arrays.items())


def _items8(screen: Screen) -> Iterator[TensorProto]:
    for number, piece in enumerate(screen.pieces):
        yield dot_graphs.external(Span(f"items8_{number}", piece.dims, piece.offset, np.dtype(np.int8)), contract.SCREEN_TENSORS)


def _constant(name: str, values: int | list[int]) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)
