"""The two graphs of a model that is no dot product: a scan over the users asked for and the pieces of the catalogue.

What is left of the model when both sides are taken out runs for one user and one piece at a time: memory stays bounded, and an
answer can't depend on who was asked about beside it. A scan hands on a piece where it lies; a loop would copy it first.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from recoserve.bundle import contract
from recoserve_export.partial.values import PAIR_COUNT
from recoserve_export.write import dot_graphs
from recoserve_export.write.item_tables import Ranker
from recoserve_export.write.tensors import Span

INT, FLOAT = TensorProto.INT64, TensorProto.FLOAT
# The model's own names stand behind these.
CONSTANT, OF_USER, TABLE, OF_ITEM, OF_PAIR = "constant.", "user.", "table.", "item.", "pair."
Rename = Callable[[str], str]
Numbers = dict[str, int | list[int] | list[list[int]]]


def write(folder: Path, ranker: Ranker) -> None:
    """Write `model.onnx` and `score.onnx` beside the tensors that `ranker` describes."""
    for role, graph in ((contract.RECOMMEND, recommend(ranker)), (contract.SCORE, score(ranker))):
        dot_graphs.save(folder / contract.GRAPHS[role], graph, ranker.opset)


def recommend(ranker: Ranker) -> onnx.GraphProto:
    """user_id int64 [B], k int64 [1] -> item_id int64 [B, min(k, N)], score float32 [B, min(k, N)], best first."""
    ranked = "product" if ranker.tail else contract.SCORE_OUT
    over_pieces = _scan([TABLE + name for name in ranker.tables], "scores_by_piece", _pairs(ranker))
    nodes = [
        *_users(ranker),
        _over_users(ranker, [over_pieces, helper.make_node("Reshape", ["scores_by_piece", "flat"], ["scores_of_user"])]),
        helper.make_node("Slice", ["scores_by_user", "first_item", "item_id_rows", "item_axis"], ["scores"]),
        helper.make_node("Min", [contract.K, "item_id_rows"], ["k_held"]),
        helper.make_node("TopK", ["scores", "k_held"], [ranked, contract.ITEM_ID], axis=1),
        *dot_graphs.finish("product", ranker.tail),
    ]
    inputs = [dot_graphs.value(contract.USER_ID, INT, ["batch"]), dot_graphs.value(contract.K, INT, [1])]
    outputs = [
        dot_graphs.value(name, dtype, ["batch", "top"]) for name, dtype in ((contract.ITEM_ID, INT), (contract.SCORE_OUT, FLOAT))
    ]
    numbers: Numbers = {"first_item": [0], "item_axis": [1], "item_id_rows": [ranker.items]}
    if any(PAIR_COUNT in node.input for node in ranker.pair_nodes):
        numbers[PAIR_COUNT] = [ranker.piece]
    return helper.make_graph(nodes, contract.RECOMMEND, inputs, outputs, _constants(ranker, ranker.tables.values(), numbers))


def score(ranker: Ranker) -> onnx.GraphProto:
    """user_id int64 [B], item_id int64 [M] -> score float32 [B, M]."""
    of_pairs = _pairs(ranker)
    gathered = _gathered_columns if ranker.columns else _gathered_rows
    nodes = [
        *dot_graphs.guard(contract.ITEM_ID),
        *gathered(ranker),
        helper.make_node("Shape", ["item_id_checked"], [PAIR_COUNT]),
        *_users(ranker),
        _over_users(ranker, [*of_pairs.node, helper.make_node("Identity", ["scores_of_piece"], ["scores_of_user"])]),
        helper.make_node("Identity", ["scores_by_user"], ["product" if ranker.tail else contract.SCORE_OUT]),
        *dot_graphs.finish("product", ranker.tail),
    ]
    inputs = [dot_graphs.value(contract.USER_ID, INT, ["batch"]), dot_graphs.value(contract.ITEM_ID, INT, ["candidates"])]
    outputs = dot_graphs.score_outputs(ranker.tail)
    numbers: Numbers = {"item_id_rows": ranker.items}
    for width in _widths(ranker):
        places = [[place * ranker.piece] for place in range(width)]
        numbers |= {"piece": ranker.piece, f"size_{width}": width * ranker.piece, f"places_{width}": places}
    flat = [replace(span, dims=(prod(span.dims),) if ranker.columns else _rows_of(span)) for span in ranker.tables.values()]
    return helper.make_graph(nodes, contract.SCORE, inputs, outputs, _constants(ranker, flat, numbers))


def _rows_of(span: Span) -> tuple[int, ...]:
    """A table in pieces as one, [items, *shape]."""
    pieces, piece, *shape = span.dims
    return (pieces * piece, *shape)


def _widths(ranker: Ranker) -> set[int]:
    """Of the values that lie in columns."""
    return {span.dims[1] for span in ranker.tables.values()} if ranker.columns else set()


def _gathered_rows(ranker: Ranker) -> list[onnx.NodeProto]:
    """The candidates' values, [M, *shape] each."""
    return [helper.make_node("Gather", [TABLE + name, "item_id_checked"], [OF_ITEM + name]) for name in ranker.tables]


def _gathered_columns(ranker: Ranker) -> list[onnx.NodeProto]:
    """The same out of tables [pieces, width, piece], number by number: [width, M] each."""
    nodes = [
        helper.make_node("Div", ["item_id_checked", "piece"], ["piece_of_item"]),
        helper.make_node("Mod", ["item_id_checked", "piece"], ["place_in_piece"]),
    ]
    for width in _widths(ranker):
        start, first, each = f"start_{width}", f"first_{width}", f"each_{width}"
        nodes += [
            helper.make_node("Mul", ["piece_of_item", f"size_{width}"], [start]),
            helper.make_node("Add", [start, "place_in_piece"], [first]),
            helper.make_node("Add", [f"places_{width}", first], [each]),
        ]
    tables = ((name, f"each_{span.dims[1]}") for name, span in ranker.tables.items())
    return [*nodes, *(helper.make_node("Gather", [TABLE + name, each], [OF_ITEM + name]) for name, each in tables)]


def _users(ranker: Ranker) -> list[onnx.NodeProto]:
    """The user's side, once for all users asked for."""
    dtype = helper.np_dtype_to_tensor_dtype(ranker.user.dtype)
    rows = ranker.user_rows.name if ranker.user_rows else None
    return [
        *dot_graphs.guard(contract.USER_ID),
        *([helper.make_node("Gather", [rows, "user_id_checked"], ["model_row"])] if rows else []),
        helper.make_node("Reshape", ["model_row" if rows else "user_id_checked", "user_shape"], ["user_id_shaped"]),
        helper.make_node("Cast", ["user_id_shaped"], [OF_USER + ranker.user.name], to=dtype),
        *(_renamed(node, _namer(ranker, OF_USER)) for node in ranker.user_nodes),
    ]


def _over_users(ranker: Ranker, nodes: Sequence[onnx.NodeProto]) -> onnx.NodeProto:
    """A turn of `nodes` for each user, who make `scores_of_user`; all users' scores, [B, items]."""
    turn = ["Reshape", "column"] if ranker.columns else ["Unsqueeze", "first_axis"]
    ones = [helper.make_node(turn[0], [name + ".row", turn[1]], [OF_PAIR + name]) for name in ranker.user_values]
    inputs = [helper.make_empty_tensor_value_info(name + ".row") for name in ranker.user_values]
    outputs = [helper.make_empty_tensor_value_info("scores_of_user")]
    body = helper.make_graph([*ones, *nodes], "user", inputs, outputs)
    return _scan([OF_USER + name for name in ranker.user_values], "scores_by_user", body)


def _pairs(ranker: Ranker) -> onnx.GraphProto:
    """What is left of the model, for one user and some items: the items' values -> `scores_of_piece`."""
    rename = _namer(ranker, OF_PAIR)
    nodes = [
        *(_renamed(node, rename) for node in ranker.pair_nodes),
        helper.make_node("Reshape", [rename(ranker.score), "flat"], ["scores_of_piece"]),
    ]
    inputs = [helper.make_empty_tensor_value_info(OF_ITEM + name) for name in ranker.tables]
    outputs = [helper.make_empty_tensor_value_info("scores_of_piece")]
    return helper.make_graph(nodes, "pairs", inputs, outputs)


def _scan(over: Sequence[str], to: str, body: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("Scan", list(over), [to], body=body, num_scan_inputs=len(over))


def _namer(ranker: Ranker, prefix: str) -> Rename:
    """Where each of the model's own names lies: a constant, an item's value, or a value of what `prefix` stands for."""

    def rename(name: str) -> str:
        if not name or name == PAIR_COUNT:
            return name
        if name in ranker.constants or name in ranker.large:
            return CONSTANT + name
        return (OF_ITEM if name in ranker.tables and prefix == OF_PAIR else prefix) + name

    return rename


def _renamed(node: onnx.NodeProto, rename: Rename) -> onnx.NodeProto:
    found = onnx.NodeProto()
    found.CopyFrom(node)
    for names in (found.input, found.output):
        names[:] = [rename(name) for name in names]
    for attribute in found.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            _rename_graph(graph, rename)
    return found


def _rename_graph(graph: onnx.GraphProto, rename: Rename) -> None:
    for named in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        named.name = rename(named.name)
    nodes = [_renamed(node, rename) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _constants(ranker: Ranker, tables: Iterable[Span], numbers: Numbers) -> list[TensorProto]:
    made = {
        "zero": 0,
        "user_id_rows": ranker.users,
        "user_shape": [-1, *ranker.user.shape],
        "flat": [-1],
        **({"column": [-1, 1]} if ranker.columns else {"first_axis": [0]}),
        **numbers,
    }
    spans = [(TABLE, span) for span in tables] + [(CONSTANT, span) for span in ranker.large.values()]
    return [
        *([dot_graphs.external(ranker.user_rows)] if ranker.user_rows else []),
        *(dot_graphs.external(replace(span, name=prefix + span.name)) for prefix, span in spans),
        *(numpy_helper.from_array(np.array(value, np.int64), name) for name, value in made.items()),
        *(numpy_helper.from_array(np.asarray(array), CONSTANT + name) for name, array in ranker.constants.items()),
    ]
