"""Writes the graphs over the int8 index: a user's vector, the bounds of all blocks, the exact scores of some, and a score's tail.

The names of their files and of the values in them belong to the bundle format, which calls the index a screen.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from recoserve.bundle import contract
from recoserve_export.graph.dot_score import Formula
from recoserve_export.graph.monotone_tail import Tail
from recoserve_export.write.int8_index import SMALLEST_STEP, Int8Tensors
from recoserve_export.write.onnx_nodes import FLOAT, INT64, external, guard, integers, save, tail_nodes, value
from recoserve_export.write.tensors import ExternalTensor, padded_row_count


def write(folder: Path, users: ExternalTensor, items: ExternalTensor, index: Int8Tensors, formula: Formula) -> None:
    """Write the index's three graphs beside the tables that `users` and `items` describe, and that of the tail if there is one."""
    save(folder / contract.SCREEN_GRAPHS[contract.USER], user_graph(users))
    save(folder / contract.SCREEN_GRAPHS[contract.SCREEN], bounds_graph(index))
    save(folder / contract.SCREEN_GRAPHS[contract.RESCORE], rescore_graph(items, formula))
    if formula.tail:
        save(folder / contract.FINISH_GRAPHS[contract.FINISH], tail_graph(formula.tail))


def user_graph(users: ExternalTensor) -> onnx.GraphProto:
    """user_id int64 [B] -> query float32 [B, d]."""
    nodes = [*guard(contract.USER_ID), helper.make_node("Gather", [users.name, "user_id_checked"], [contract.QUERY])]
    inputs = [value(contract.USER_ID, INT64, ["batch"])]
    outputs = [value(contract.QUERY, FLOAT, ["batch", users.dims[1]])]
    constants = [external(users), integers("zero", 0), integers("user_id_rows", [users.dims[0]])]
    return helper.make_graph(nodes, contract.USER, inputs, outputs, constants)


def rescore_graph(items: ExternalTensor, formula: Formula) -> onnx.GraphProto:
    """query float32 [B, d], query_row and block int64 [P] -> product and score float32 [P, BLOCK] of each pair."""
    row_count, width = items.dims
    dims = (padded_row_count(row_count) // contract.BLOCK, contract.BLOCK, width)
    blocks = replace(items, name=contract.ITEM_BLOCKS, dims=dims)  # the bytes of the item table and of the zeros after it
    score_is_product = [helper.make_node("Identity", [contract.PRODUCT], [contract.SCORE_OUT])]
    nodes = [
        helper.make_node("Gather", [blocks.name, contract.BLOCK_ROW], ["rows"]),
        helper.make_node("Gather", [contract.QUERY, contract.QUERY_ROW], ["queries"]),
        helper.make_node("Unsqueeze", ["queries", "two"], ["columns"]),
        helper.make_node("MatMul", ["rows", "columns"], ["products"]),
        helper.make_node("Squeeze", ["products", "two"], [contract.PRODUCT]),
        *(tail_nodes(contract.PRODUCT, formula.tail) or score_is_product),
    ]
    inputs = [
        value(contract.QUERY, FLOAT, ["batch", width]),
        value(contract.QUERY_ROW, INT64, ["pairs"]),
        value(contract.BLOCK_ROW, INT64, ["pairs"]),
    ]
    outputs = [value(name, FLOAT, ["pairs", contract.BLOCK]) for name in (contract.PRODUCT, contract.SCORE_OUT)]
    return helper.make_graph(nodes, contract.RESCORE, inputs, outputs, [external(blocks), integers("two", [2])])


def tail_graph(tail: Tail) -> onnx.GraphProto:
    """product float32 [n] -> score float32 [n], by the operators that follow the product in `rescore_graph`."""
    inputs = [value(contract.PRODUCT, FLOAT, ["products"])]
    outputs = [value(contract.SCORE_OUT, FLOAT, ["products"])]
    return helper.make_graph(tail_nodes(contract.PRODUCT, tail), contract.FINISH, inputs, outputs)


def bounds_graph(index: Int8Tensors) -> onnx.GraphProto:
    """query float32 [B, d], levels float32 [1], blocks int64 [1] -> the outputs of `screen.onnx`, as `contract` describes them."""
    width, block_count, piece_count = len(index.rotation), len(index.error), len(index.pieces)
    maxima_nodes = [node for number in range(piece_count) for node in _block_maxima(number)]
    maxima_names = [f"units_{number}" for number in range(piece_count)]
    nodes = [*_rounded_query(), *maxima_nodes, helper.make_node("Concat", maxima_names, ["units"], axis=1), *_bounds()]
    inputs = [
        value(contract.QUERY, FLOAT, ["batch", width]),
        value(contract.LEVELS, FLOAT, [1]),
        value(contract.BLOCKS, INT64, [1]),
    ]
    outputs = [
        value(contract.BOUND, FLOAT, ["batch", block_count]),
        value(contract.UNIT, FLOAT, ["batch", 1]),
        value(contract.BEST_BOUND, FLOAT, ["batch", "blocks"]),
        value(contract.BEST_BLOCK, INT64, ["batch", "blocks"]),
    ]
    pieces = [external(piece, contract.SCREEN_TENSORS) for piece in index.pieces]
    return helper.make_graph(nodes, contract.SCREEN, inputs, outputs, [*_constants(index), *pieces])


def _rounded_query() -> list[onnx.NodeProto]:
    """Nodes that round the rotated query, and compute the lengths of the query and of its rounding error.

    The query is rounded to integers from -levels to levels, which are stored as uint8 around a zero point of levels + 1. `levels`
    is an input: a processor without VNNI adds pairs of int8 products in 16 bits, which saturate silently if the query has 127
    levels, and bounds would be too low. The service passes 63 there (decision 9).
    """
    return [
        helper.make_node("Add", [contract.LEVELS, "one_float"], ["zero_float"]),
        helper.make_node("Squeeze", ["zero_float"], ["zero_scalar"]),
        helper.make_node("Cast", ["zero_scalar"], ["query_zero"], to=TensorProto.UINT8),
        helper.make_node("MatMul", [contract.QUERY, "rotation"], ["turned"]),
        helper.make_node("Abs", ["turned"], ["magnitude"]),
        helper.make_node("ReduceMax", ["magnitude", "one"], ["peak"], keepdims=1),
        helper.make_node("Max", ["peak", "smallest"], ["peak_held"]),
        helper.make_node("Div", ["peak_held", contract.LEVELS], [contract.UNIT]),
        helper.make_node("Div", ["turned", contract.UNIT], ["steps"]),
        helper.make_node("Round", ["steps"], ["whole"]),
        helper.make_node("Add", ["whole", "zero_float"], ["shifted"]),
        helper.make_node("Cast", ["shifted"], ["query8"], to=TensorProto.UINT8),
        helper.make_node("Mul", ["whole", contract.UNIT], ["kept"]),
        helper.make_node("Sub", ["turned", "kept"], ["lost"]),
        helper.make_node("ReduceL2", ["lost", "one"], ["query_error"], keepdims=1),
        helper.make_node("ReduceL2", [contract.QUERY, "one"], ["query_norm"], keepdims=1),
    ]


def _block_maxima(number: int) -> list[onnx.NodeProto]:
    """Nodes that compute the largest product of each block of piece `number`, in steps of the query times steps of the block."""
    dots, blocked = f"dots_{number}", f"blocked_{number}"
    return [
        helper.make_node("MatMulInteger", ["query8", f"items8_{number}", "query_zero"], [dots]),
        helper.make_node("Reshape", [dots, "per_block"], [blocked]),
        helper.make_node("ReduceMax", [blocked, "two"], [f"units_{number}"], keepdims=0),
    ]


def _bounds() -> list[onnx.NodeProto]:
    """Nodes that compute each block's bound and sort the largest of them.

    Bounds are in units of the query's step: so the long rows [B, blocks] are read and written twice, and bounds in the query's own
    numbers would take five passes. Only the few largest are multiplied by the unit.
    """
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


def _constants(index: Int8Tensors) -> Iterator[TensorProto]:
    yield from (integers("one", [1]), integers("two", [2]), integers("per_block", [0, -1, contract.BLOCK]))
    yield integers("block_count", [len(index.error)])
    floats = {"one_float": 1.0, "smallest": SMALLEST_STEP}
    yield from (numpy_helper.from_array(np.array(number, np.float32), name) for name, number in floats.items())
    arrays = {"rotation": index.rotation, "block_step": index.step[None], "block_lengths": np.stack([index.error, index.norm])}
    yield from (numpy_helper.from_array(array, name) for name, array in arrays.items())
