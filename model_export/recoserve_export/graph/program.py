"""Pieces of a network, run in ONNX Runtime while a bundle is made; large constants are fed, never copied."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Arrays

LARGE = 1 << 16  # bytes of a constant that is fed instead of written into the graph


class Program:
    """Some nodes of a graph, ready to run: `feeds` and `outputs` are value names, and an output may be a feed or a constant.

    Raises ExportRefused where ONNX Runtime can't run them.
    """

    def __init__(
        self,
        nodes: Sequence[onnx.NodeProto],
        constants: Arrays,
        feeds: Mapping[str, np.dtype[Any]],
        outputs: Sequence[str],
        opset: int,
    ) -> None:
        used = {name for node in nodes for name in _reads(node)} | set(outputs)
        self._known = {name: array for name, array in constants.items() if name in used}
        self._fed = {name: np.require(array, requirements="C") for name, array in self._known.items() if array.nbytes >= LARGE}
        self._outputs, made = list(outputs), {name for node in nodes for name in node.output}
        self._made = [name for name in outputs if name in made]
        given = {name: dtype for name, dtype in feeds.items() if name in used}
        self._feeds, inputs = set(given), {**given, **{name: array.dtype for name, array in self._fed.items()}}
        graph = helper.make_graph(
            nodes,
            "program",
            [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), None) for name, dtype in inputs.items()],
            [onnx.ValueInfoProto(name=name) for name in self._made],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in self._known.items() if name not in self._fed],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        self._session: Any = None
        self._error: tuple[type[Exception], ...] = ()
        if self._made:
            self._session, self._error = _session(model)

    def run(self, feeds: Arrays) -> list[NDArray[Any]]:
        """The outputs, in the order asked for; raises ExportRefused where the model fails on these values."""
        given = {name: feeds[name] for name in self._feeds}
        try:
            found = self._session.run(self._made, {**given, **self._fed}) if self._session is not None else []
        except self._error as error:
            raise ExportRefused(f"the model's graph fails in ONNX Runtime: {' '.join(str(error).split())[:300]}") from None
        values = {**self._known, **given, **dict(zip(self._made, found, strict=True))}
        return [values[name] for name in self._outputs]


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """The names that a node reads, those in graphs of its own among them."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _reads(inner)


def _session(model: onnx.ModelProto) -> tuple[Any, tuple[type[Exception], ...]]:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library is loaded
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    state = onnxruntime.capi.onnxruntime_pybind11_state
    errors = (state.Fail, state.RuntimeException, state.InvalidArgument, state.InvalidGraph, state.NotImplemented)
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]), errors
    except errors as error:
        raise ExportRefused(f"ONNX Runtime refuses the model's graph: {' '.join(str(error).split())[:300]}") from None
