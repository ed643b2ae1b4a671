"""Writes the graphs of a ranker: a Scan over the users of a request and, within it, over the tiles of the item tables.

The pair program runs for one user and one tile at a time: memory stays bounded, and a score can't depend on the other users of the
batch. A Scan passes a tile on without a copy; a Loop would need a Gather for each tile, and took up to 1.8 times as long
(decision 14). The names within the graphs call a tile a piece; to change them would change every bundle that is exported.
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
from recoserve_export.write.item_tables import PreparedScorer
from recoserve_export.write.onnx_nodes import FLOAT, INT64, external, guard, integers, save, score_outputs, tail_nodes, value
from recoserve_export.write.tensors import ExternalTensor

# Prefixes of the model's own names in these graphs, so that no two values have the same name.
CONSTANT, OF_USER, TABLE, OF_ITEM, OF_PAIR = "constant.", "user.", "table.", "item.", "pair."
Rename = Callable[[str], str]
IntegerConstants = dict[str, int | list[int] | list[list[int]]]


def write(folder: Path, scorer: PreparedScorer) -> None:
    """Write `model.onnx` and `score.onnx` beside the tensors that `scorer` describes."""
    for role, graph in ((contract.RECOMMEND, recommend(scorer)), (contract.SCORE, score(scorer))):
        save(folder / contract.GRAPHS[role], graph, scorer.opset)


def recommend(scorer: PreparedScorer) -> onnx.GraphProto:
    """user_id int64 [B], k int64 [1] -> item_id int64 [B, min(k, N)], score float32 [B, min(k, N)], best first."""
    tables = scorer.item_tables
    topk_output = "product" if scorer.tail else contract.SCORE_OUT
    over_tiles = _scan([TABLE + name for name in tables.tensors], "scores_by_piece", _pair_body(scorer))
    nodes = [
        *_user_side(scorer),
        _over_users(scorer, [over_tiles, helper.make_node("Reshape", ["scores_by_piece", "flat"], ["scores_of_user"])]),
        # The last tile is filled with copies of the last item, whose scores are cut off before the items are ranked.
        helper.make_node("Slice", ["scores_by_user", "first_item", "item_id_rows", "item_axis"], ["scores"]),
        helper.make_node("Min", [contract.K, "item_id_rows"], ["k_held"]),
        helper.make_node("TopK", ["scores", "k_held"], [topk_output, contract.ITEM_ID], axis=1),
        *tail_nodes("product", scorer.tail),
    ]
    inputs = [value(contract.USER_ID, INT64, ["batch"]), value(contract.K, INT64, [1])]
    outputs = [value(contract.ITEM_ID, INT64, ["batch", "top"]), value(contract.SCORE_OUT, FLOAT, ["batch", "top"])]
    numbers: IntegerConstants = {"first_item": [0], "item_axis": [1], "item_id_rows": [tables.item_count]}
    if any(PAIR_COUNT in node.input for node in scorer.pair_nodes):
        numbers[PAIR_COUNT] = [tables.tile_items]
    return helper.make_graph(nodes, contract.RECOMMEND, inputs, outputs, _constants(scorer, tables.tensors.values(), numbers))


def score(scorer: PreparedScorer) -> onnx.GraphProto:
    """user_id int64 [B], item_id int64 [M] -> score float32 [B, M] and, where there is a tail, product float32 [B, M]."""
    tables = scorer.item_tables
    gather = _gather_transposed if tables.transposed else _gather_rows
    nodes = [
        *guard(contract.ITEM_ID),
        *gather(scorer),
        helper.make_node("Shape", ["item_id_checked"], [PAIR_COUNT]),
        *_user_side(scorer),
        _over_users(scorer, [*_pair_body(scorer).node, helper.make_node("Identity", ["scores_of_piece"], ["scores_of_user"])]),
        helper.make_node("Identity", ["scores_by_user"], ["product" if scorer.tail else contract.SCORE_OUT]),
        *tail_nodes("product", scorer.tail),
    ]
    inputs = [value(contract.USER_ID, INT64, ["batch"]), value(contract.ITEM_ID, INT64, ["candidates"])]
    outputs = score_outputs(scorer.tail)
    numbers: IntegerConstants = {"item_id_rows": tables.item_count}
    for width in _transposed_widths(scorer):
        starts = [[column * tables.tile_items] for column in range(width)]
        numbers |= {"piece": tables.tile_items, f"size_{width}": width * tables.tile_items, f"places_{width}": starts}
    # The same bytes as the tables that `recommend` scans, in the shape that `gather` reads.
    gathered = [
        replace(tensor, dims=(prod(tensor.dims),) if tables.transposed else _joined_dims(tensor))
        for tensor in tables.tensors.values()
    ]
    return helper.make_graph(nodes, contract.SCORE, inputs, outputs, _constants(scorer, gathered, numbers))


def _joined_dims(tensor: ExternalTensor) -> tuple[int, ...]:
    """The shape [items, *row_shape] of a table that is stored as [tiles, tile_items, *row_shape]."""
    tile_count, tile_items, *row_shape = tensor.dims
    return (tile_count * tile_items, *row_shape)


def _transposed_widths(scorer: PreparedScorer) -> set[int]:
    """The widths of the item tables if they are stored transposed; otherwise none."""
    tables = scorer.item_tables
    return {tensor.dims[1] for tensor in tables.tensors.values()} if tables.transposed else set()


def _gather_rows(scorer: PreparedScorer) -> list[onnx.NodeProto]:
    """Nodes that read the candidates' values, [M, *row_shape] each, from tables [items, *row_shape]."""
    return [helper.make_node("Gather", [TABLE + name, "item_id_checked"], [OF_ITEM + name]) for name in scorer.item_tables.tensors]


def _gather_transposed(scorer: PreparedScorer) -> list[onnx.NodeProto]:
    """Nodes that read the candidates' values, [width, M] each, number by number from tables [tiles, width, tile_items].

    Number c of an item has the index tile * (width * tile_items) + c * tile_items + the item's position in the tile.
    """
    nodes = [
        helper.make_node("Div", ["item_id_checked", "piece"], ["piece_of_item"]),
        helper.make_node("Mod", ["item_id_checked", "piece"], ["place_in_piece"]),
    ]
    for width in _transposed_widths(scorer):
        start, first, indices = f"start_{width}", f"first_{width}", f"each_{width}"
        nodes += [
            helper.make_node("Mul", ["piece_of_item", f"size_{width}"], [start]),
            helper.make_node("Add", [start, "place_in_piece"], [first]),
            helper.make_node("Add", [f"places_{width}", first], [indices]),
        ]
    for name, tensor in scorer.item_tables.tensors.items():
        nodes.append(helper.make_node("Gather", [TABLE + name, f"each_{tensor.dims[1]}"], [OF_ITEM + name]))
    return nodes


def _user_side(scorer: PreparedScorer) -> list[onnx.NodeProto]:
    """Nodes that compute the user's side of the model, once for all users of the request."""
    dtype = helper.np_dtype_to_tensor_dtype(scorer.user_input.dtype)
    model_rows = scorer.model_rows.name if scorer.model_rows else None
    return [
        *guard(contract.USER_ID),
        *([helper.make_node("Gather", [model_rows, "user_id_checked"], ["model_row"])] if model_rows else []),
        helper.make_node("Reshape", ["model_row" if model_rows else "user_id_checked", "user_shape"], ["user_id_shaped"]),
        helper.make_node("Cast", ["user_id_shaped"], [OF_USER + scorer.user_input.name], to=dtype),
        *(_renamed(node, _renaming(scorer, OF_USER)) for node in scorer.user_nodes),
    ]


def _over_users(scorer: PreparedScorer, nodes: Sequence[onnx.NodeProto]) -> onnx.NodeProto:
    """A Scan that runs `nodes`, which compute `scores_of_user`, for each user; its output is `scores_by_user`, [B, items]."""
    operator, shape = ("Reshape", "column") if scorer.item_tables.transposed else ("Unsqueeze", "first_axis")
    single_rows = [helper.make_node(operator, [name + ".row", shape], [OF_PAIR + name]) for name in scorer.user_values]
    inputs = [helper.make_empty_tensor_value_info(name + ".row") for name in scorer.user_values]
    outputs = [helper.make_empty_tensor_value_info("scores_of_user")]
    body = helper.make_graph([*single_rows, *nodes], "user", inputs, outputs)
    return _scan([OF_USER + name for name in scorer.user_values], "scores_by_user", body)


def _pair_body(scorer: PreparedScorer) -> onnx.GraphProto:
    """The pair program for one user, whose values it reads from the graph around it: values of items -> `scores_of_piece`."""
    rename = _renaming(scorer, OF_PAIR)
    nodes = [
        *(_renamed(node, rename) for node in scorer.pair_nodes),
        helper.make_node("Reshape", [rename(scorer.score), "flat"], ["scores_of_piece"]),
    ]
    inputs = [helper.make_empty_tensor_value_info(OF_ITEM + name) for name in scorer.item_tables.tensors]
    outputs = [helper.make_empty_tensor_value_info("scores_of_piece")]
    return helper.make_graph(nodes, "pairs", inputs, outputs)


def _scan(over: Sequence[str], output: str, body: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("Scan", list(over), [output], body=body, num_scan_inputs=len(over))


def _renaming(scorer: PreparedScorer, prefix: str) -> Rename:
    """A function that puts its prefix before each of the model's names: that of a constant or an item's value, or else `prefix`."""

    def rename(name: str) -> str:
        if not name or name == PAIR_COUNT:
            return name
        if name in scorer.constants or name in scorer.large_constants:
            return CONSTANT + name
        return (OF_ITEM if name in scorer.item_tables.tensors and prefix == OF_PAIR else prefix) + name

    return rename


def _renamed(node: onnx.NodeProto, rename: Rename) -> onnx.NodeProto:
    """A copy of `node` with every name changed, also in its subgraphs (of an If or a Loop)."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for names in (copy.input, copy.output):
        names[:] = [rename(name) for name in names]
    for attribute in copy.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            _rename_graph(graph, rename)
    return copy


def _rename_graph(graph: onnx.GraphProto, rename: Rename) -> None:
    for named in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        named.name = rename(named.name)
    nodes = [_renamed(node, rename) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _constants(scorer: PreparedScorer, tables: Iterable[ExternalTensor], numbers: IntegerConstants) -> list[TensorProto]:
    """Every constant of a graph: the tensors beside it, `numbers`, and the model's own small constants."""
    numbers = {
        "zero": 0,
        "user_id_rows": scorer.user_count,
        "user_shape": [-1, *scorer.user_input.shape],
        "flat": [-1],
        **({"column": [-1, 1]} if scorer.item_tables.transposed else {"first_axis": [0]}),
        **numbers,
    }
    tensors = [(TABLE, tensor) for tensor in tables] + [(CONSTANT, tensor) for tensor in scorer.large_constants.values()]
    return [
        *([external(scorer.model_rows)] if scorer.model_rows else []),
        *(external(replace(tensor, name=prefix + tensor.name)) for prefix, tensor in tensors),
        *(integers(name, number) for name, number in numbers.items()),
        *(numpy_helper.from_array(np.asarray(array), CONSTANT + name) for name, array in scorer.constants.items()),
    ]
