"""Writes the graphs of a dot model that rank and score, for user rows and for query vectors, over the shared tensor file."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from recoserve.bundle import contract
from recoserve_export.graph.dot_score import Formula
from recoserve_export.write.onnx_nodes import FLOAT, INT64, external, guard, integers, save, score_outputs, tail_nodes, value
from recoserve_export.write.tensors import ExternalTensor


def write(folder: Path, users: ExternalTensor, items: ExternalTensor, formula: Formula) -> None:
    """Write the four graphs beside the tables that `users` and `items` describe."""
    save(folder / contract.GRAPHS[contract.RECOMMEND], recommend(users, items, formula))
    save(folder / contract.GRAPHS[contract.SCORE], score(users, items, formula))
    save(folder / contract.QUERY_GRAPHS[contract.RECOMMEND_QUERY], recommend_query(items, formula))
    save(folder / contract.QUERY_GRAPHS[contract.SCORE_QUERY], score_query(items, formula))


def recommend(users: ExternalTensor, items: ExternalTensor, formula: Formula) -> onnx.GraphProto:
    """user_id int64 [B], k int64 [1] -> item_id int64 [B, min(k, N)], score float32 [B, min(k, N)], best first."""
    inputs = [value(contract.USER_ID, INT64, ["batch"]), value(contract.K, INT64, [1])]
    nodes = [*_user_vector(users), *_top("user", items, formula)]
    return helper.make_graph(nodes, contract.RECOMMEND, inputs, _top_outputs(), _constants(users, items))


def score(users: ExternalTensor, items: ExternalTensor, formula: Formula) -> onnx.GraphProto:
    """user_id int64 [B], item_id int64 [M] -> score float32 [B, M] and, where there is a tail, product float32 [B, M]."""
    inputs = [value(contract.USER_ID, INT64, ["batch"]), value(contract.ITEM_ID, INT64, ["candidates"])]
    nodes = [*_user_vector(users), *_scores("user", items, formula)]
    return helper.make_graph(nodes, contract.SCORE, inputs, score_outputs(formula.tail), _constants(users, items))


def recommend_query(items: ExternalTensor, formula: Formula) -> onnx.GraphProto:
    """query float32 [B, d], k int64 [1] -> item_id int64 [B, min(k, N)], score float32 [B, min(k, N)], best first."""
    inputs = [value(contract.QUERY, FLOAT, ["batch", items.dims[1]]), value(contract.K, INT64, [1])]
    nodes = _top(contract.QUERY, items, formula)
    return helper.make_graph(nodes, contract.RECOMMEND_QUERY, inputs, _top_outputs(), _constants(items))


def score_query(items: ExternalTensor, formula: Formula) -> onnx.GraphProto:
    """query float32 [B, d], item_id int64 [M] -> score float32 [B, M] and, where there is a tail, product float32 [B, M]."""
    inputs = [value(contract.QUERY, FLOAT, ["batch", items.dims[1]]), value(contract.ITEM_ID, INT64, ["candidates"])]
    nodes = _scores(contract.QUERY, items, formula)
    return helper.make_graph(nodes, contract.SCORE_QUERY, inputs, score_outputs(formula.tail), _constants(items))


def _user_vector(users: ExternalTensor) -> list[onnx.NodeProto]:
    return [*guard(contract.USER_ID), helper.make_node("Gather", [users.name, "user_id_checked"], ["user"], axis=0)]


def _top(query: str, items: ExternalTensor, formula: Formula) -> list[onnx.NodeProto]:
    # The tail follows TopK: it changes no order, so it needs to run for k products only.
    topk_output = "product" if formula.tail else contract.SCORE_OUT
    return [
        helper.make_node("Gemm", [query, items.name], ["products"], transB=1),
        helper.make_node("Min", [contract.K, "item_id_rows"], ["k_held"]),
        helper.make_node("TopK", ["products", "k_held"], [topk_output, contract.ITEM_ID], axis=1),
        *tail_nodes("product", formula.tail),
    ]


def _scores(query: str, items: ExternalTensor, formula: Formula) -> list[onnx.NodeProto]:
    return [
        *guard(contract.ITEM_ID),
        helper.make_node("Gather", [items.name, "item_id_checked"], ["item"], axis=0),
        helper.make_node("Gemm", [query, "item"], ["product" if formula.tail else contract.SCORE_OUT], transB=1),
        *tail_nodes("product", formula.tail),
    ]


def _top_outputs() -> list[onnx.ValueInfoProto]:
    return [value(contract.ITEM_ID, INT64, ["batch", "k"]), value(contract.SCORE_OUT, FLOAT, ["batch", "k"])]


def _constants(*tables: ExternalTensor) -> list[TensorProto]:
    """The tables, the items' last, then a zero and the row count of each table, against which `guard` checks row numbers."""
    names = contract.ROW_COUNTS[-len(tables) :]
    counts = {"zero": 0, **{name: table.dims[0] for name, table in zip(names, tables, strict=True)}}
    return [*map(external, tables), *(integers(name, [count]) for name, count in counts.items())]
