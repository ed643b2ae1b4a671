"""Runs parts of a network in ONNX Runtime while a bundle is made."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from recoserve.errors import ExportRefused
from recoserve_export.graph import onnx_runtime
from recoserve_export.graph.network import Arrays

# A constant of this many bytes or more is fed at each run instead of being written into the graph: a table of several GB would be
# copied twice, and the serialised graph may not exceed 2 GiB.
LARGE_BYTES = 1 << 16


class Program:
    """Some nodes of a graph, ready to run.

    `feeds` has the dtypes, by name, of the values that are passed to each run; those that are neither read nor returned are
    ignored. `outputs` names the values that a run returns, which may be feeds or constants too. Raises ExportRefused if ONNX
    Runtime can't run the nodes.
    """

    def __init__(
        self,
        nodes: Sequence[onnx.NodeProto],
        constants: Arrays,
        feeds: Mapping[str, np.dtype[Any]],
        outputs: Sequence[str],
        opset: int,
    ) -> None:
        needed_names = {name for node in nodes for name in _inputs(node)} | set(outputs)
        self._constants = {name: array for name, array in constants.items() if name in needed_names}
        # `require` and not `ascontiguousarray`, which makes a vector of a scalar.
        self._large = {
            name: np.require(array, requirements="C") for name, array in self._constants.items() if array.nbytes >= LARGE_BYTES
        }
        computed = {name for node in nodes for name in node.output}
        self._outputs, self._computed = list(outputs), [name for name in outputs if name in computed]
        self._feeds = {name: dtype for name, dtype in feeds.items() if name in needed_names}
        inputs = {**self._feeds, **{name: array.dtype for name, array in self._large.items()}}
        graph = helper.make_graph(
            nodes,
            "program",
            [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), None) for name, dtype in inputs.items()],
            [onnx.ValueInfoProto(name=name) for name in self._computed],
            [
                numpy_helper.from_array(np.asarray(array), name)
                for name, array in self._constants.items()
                if name not in self._large
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        self._session: Any = None
        self._errors: tuple[type[Exception], ...] = ()
        if self._computed:  # ONNX Runtime refuses a graph without outputs
            self._session, self._errors = _session(model)

    def run(self, feeds: Arrays) -> list[NDArray[Any]]:
        """The values of `outputs`, in their order; raises ExportRefused if the graph fails on these feeds."""
        used_feeds = {name: feeds[name] for name in self._feeds}
        try:
            arrays = self._session.run(self._computed, {**used_feeds, **self._large}) if self._session is not None else []
        except self._errors as error:
            raise ExportRefused(f"the model's graph fails in ONNX Runtime: {' '.join(str(error).split())[:300]}") from None
        values = {**self._constants, **used_feeds, **dict(zip(self._computed, arrays, strict=True))}
        return [values[name] for name in self._outputs]


def _inputs(node: onnx.NodeProto) -> Iterator[str]:
    """The names of the values that a node reads, also in its subgraphs, which see all values of the graph around them."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _inputs(inner)


def _session(model: onnx.ModelProto) -> tuple[Any, tuple[type[Exception], ...]]:
    """A session of the model, and the exceptions by which its runs can fail."""
    runtime = onnx_runtime.load()
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # fatal errors only: the others are raised, and become an ExportRefused
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    errors = onnx_runtime.refusals(runtime)
    try:
        return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]), errors
    except errors as error:
        raise ExportRefused(f"ONNX Runtime refuses the model's graph: {' '.join(str(error).split())[:300]}") from None
