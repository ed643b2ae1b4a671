"""The graphs of a dot product that rank and score, of users and of queries: standard operators over the shared tensor file."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from recoserve.bundle import contract
from recoserve_export.graph.dot_score import Formula
from recoserve_export.graph.monotone_tail import Tail
from recoserve_export.write.tensors import Span

OPSET, IR_VERSION = 21, 10
INT, FLOAT = TensorProto.INT64, TensorProto.FLOAT


def write(folder: Path, users: Span, items: Span, formula: Formula) -> None:
    """Write them beside the tensors; a tail stands behind the ranking, where it changes no order."""
    save(folder / contract.GRAPHS[contract.RECOMMEND], recommend(users, items, formula))
    save(folder / contract.GRAPHS[contract.SCORE], score(users, items, formula))
    save(folder / contract.QUERY_GRAPHS[contract.RECOMMEND_QUERY], recommend_query(items, formula))
    save(folder / contract.QUERY_GRAPHS[contract.SCORE_QUERY], score_query(items, formula))


def save(path: Path, graph: onnx.GraphProto, opset: int = OPSET) -> None:
    """Write one graph as a model file, and check it."""
    versions = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=IR_VERSION, producer_name="recoserve")
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(str(path))


def recommend(users: Span, items: Span, formula: Formula) -> onnx.GraphProto:
    """user_id int64 [B], k int64 [1] -> item_id int64 [B, min(k, N)], score float32 [B, min(k, N)], best first."""
    inputs = [value(contract.USER_ID, INT, ["batch"]), value(contract.K, INT, [1])]
    nodes = [*_user(users), *_top("user", items, formula)]
    return helper.make_graph(nodes, contract.RECOMMEND, inputs, _top_outputs(), _constants(users, items))


def score(users: Span, items: Span, formula: Formula) -> onnx.GraphProto:
    """user_id int64 [B], item_id int64 [M] -> score float32 [B, M], and product float32 [B, M] where a tail stands behind it."""
    inputs = [value(contract.USER_ID, INT, ["batch"]), value(contract.ITEM_ID, INT, ["candidates"])]
    nodes = [*_user(users), *_scores("user", items, formula)]
    return helper.make_graph(nodes, contract.SCORE, inputs, score_outputs(formula.tail), _constants(users, items))


def recommend_query(items: Span, formula: Formula) -> onnx.GraphProto:
    """query float32 [B, d], k int64 [1] -> as `recommend`."""
    inputs = [value(contract.QUERY, FLOAT, ["batch", items.dims[1]]), value(contract.K, INT, [1])]
    nodes = _top(contract.QUERY, items, formula)
    return helper.make_graph(nodes, contract.RECOMMEND_QUERY, inputs, _top_outputs(), _constants(items))


def score_query(items: Span, formula: Formula) -> onnx.GraphProto:
    """query float32 [B, d], item_id int64 [M] -> as `score`."""
    inputs = [value(contract.QUERY, FLOAT, ["batch", items.dims[1]]), value(contract.ITEM_ID, INT, ["candidates"])]
    nodes = _scores(contract.QUERY, items, formula)
    return helper.make_graph(nodes, contract.SCORE_QUERY, inputs, score_outputs(formula.tail), _constants(items))


def _user(users: Span) -> list[onnx.NodeProto]:
    return [*guard(contract.USER_ID), helper.make_node("Gather", [users.name, "user_id_checked"], ["user"], axis=0)]


def _top(query: str, items: Span, formula: Formula) -> list[onnx.NodeProto]:
    ranked = "product" if formula.tail else contract.SCORE_OUT
    return [
        helper.make_node("Gemm", [query, items.name], ["products"], transB=1),
        helper.make_node("Min", [contract.K, "item_id_rows"], ["k_held"]),
        helper.make_node("TopK", ["products", "k_held"], [ranked, contract.ITEM_ID], axis=1),
        *finish("product", formula.tail),
    ]


def _scores(query: str, items: Span, formula: Formula) -> list[onnx.NodeProto]:
    return [
        *guard(contract.ITEM_ID),
        helper.make_node("Gather", [items.name, "item_id_checked"], ["item"], axis=0),
        helper.make_node("Gemm", [query, "item"], ["product" if formula.tail else contract.SCORE_OUT], transB=1),
        *finish("product", formula.tail),
    ]


def _top_outputs() -> list[onnx.ValueInfoProto]:
    return [value(contract.ITEM_ID, INT, ["batch", "k"]), value(contract.SCORE_OUT, FLOAT, ["batch", "k"])]


def score_outputs(tail: Tail) -> list[onnx.ValueInfoProto]:
    """The scores, and what stands in front of the tail: rounded scores may be equal where that is not."""
    names = [contract.SCORE_OUT, *([contract.PRODUCT] if tail else [])]
    return [value(name, FLOAT, ["batch", "candidates"]) for name in names]


def guard(rows: str) -> list[onnx.NodeProto]:
    """Make a row outside the table an error, by reshaping to one element too many for each.

    Gather itself takes -1 for the last row on CPU, and answers with zeros on CUDA. A shape is read on the host by every
    execution provider, so the Reshape fails on all of them.
    """
    return [
        helper.make_node("Less", [rows, "zero"], [f"{rows}_below"]),
        helper.make_node("GreaterOrEqual", [rows, f"{rows}_rows"], [f"{rows}_beyond"]),
        helper.make_node("Or", [f"{rows}_below", f"{rows}_beyond"], [f"{rows}_outside"]),
        helper.make_node("Cast", [f"{rows}_outside"], [f"{rows}_ones"], to=INT),
        helper.make_node("ReduceSum", [f"{rows}_ones"], [f"{rows}_excess"], keepdims=1),
        helper.make_node("Shape", [rows], [f"{rows}_shape"]),
        helper.make_node("Add", [f"{rows}_shape", f"{rows}_excess"], [f"{rows}_target"]),
        helper.make_node("Reshape", [rows, f"{rows}_target"], [f"{rows}_checked"]),
    ]


def finish(product: str, tail: Tail) -> list[onnx.NodeProto]:
    """A product's score by way of float64: the runtime's float32 sigmoid falls, here and there, where its input rises.

    Nothing where there is no tail: the product is the score.
    """
    if not tail:
        return []
    nodes, name = [helper.make_node("Cast", [product], [f"{product}_64"], to=TensorProto.DOUBLE)], f"{product}_64"
    for place, step in enumerate(tail):
        inputs = [name]
        if step.operator in ("Add", "Mul"):
            inputs.append(f"tail_constant_{place}")
            nodes.append(helper.make_node("Constant", [], inputs[1:], value=numpy_helper.from_array(np.array(step.constant))))
        name = f"tail_{place}"
        nodes.append(helper.make_node(step.operator, inputs, [name]))
    return [*nodes, helper.make_node("Cast", [name], [contract.SCORE_OUT], to=FLOAT)]


def _constants(*tables: Span) -> list[TensorProto]:
    """The tables, the last of them the items', and the rows of each."""
    names = contract.ROW_COUNTS[-len(tables) :]
    sizes = {"zero": 0, **{name: table.dims[0] for name, table in zip(names, tables, strict=True)}}
    return [*map(external, tables), *(numpy_helper.from_array(np.array([n]), name) for name, n in sizes.items())]


def external(span: Span, file: str = contract.TENSORS) -> TensorProto:
    """A tensor that lies in a file beside the graph."""
    dtype = helper.np_dtype_to_tensor_dtype(span.dtype)
    tensor = TensorProto(name=span.name, data_type=dtype, dims=span.dims, data_location=TensorProto.EXTERNAL)
    for key, number in (("location", file), ("offset", span.offset), ("length", span.length)):
        tensor.external_data.add(key=key, value=str(number))
    return tensor


def value(name: str, dtype: int, shape: list[int | str]) -> onnx.ValueInfoProto:
    """An input or output of a graph."""
    return helper.make_tensor_value_info(name, dtype, shape)
