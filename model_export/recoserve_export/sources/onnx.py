"""Reads an ONNX model of any exporter: its graph as constants, inputs and the operators that the score needs."""

from collections.abc import Callable, Collection, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, inliner, version_converter

from recoserve.bundle import contract
from recoserve.bundle.arrays import Float64Array
from recoserve.bundle.graph_file import STANDARD_DOMAINS
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Arrays, GraphSource, Input, Network
from recoserve_export.graph.program import Program
from recoserve_export.sources import onnx_tensors, onnx_tidy
from recoserve_export.sources.sides import pick_sides
from recoserve_export.sources.tables import file_digest

# Before operator set 13 the axes of Squeeze, Unsqueeze and ReduceSum are attributes: an older graph is upgraded to 18.
OLDEST_OPSET, UPGRADED_OPSET = 13, 18
SUBGRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
DYNAMIC_BATCH_ADVICE = (
    'export it with a dynamic batch axis, such as dynamic_axes={"%s": {0: "batch"}} of torch.onnx.export, '
    "dynamic_shapes with dynamo=True, or an input of shape [None] in Keras"
)


def load(path: Path, user: str | None = None, item: str | None = None, features: Collection[str] = ()) -> GraphSource:
    """A `.onnx` file of any exporter, its tensors in it or beside it, as a source.

    `user` and `item` name the inputs that take ids, if their names don't show it; every other input is a feature of the item. The
    source's own scores are those of ONNX Runtime on the graph as the file has it. Raises ExportRefused for a damaged file
    and for a model that is no scorer of pairs by standard operators.
    """
    digest = file_digest(path)
    try:
        return _source(parse(str(path), path.read_bytes()), path, digest, (user, item), features)
    except (UnicodeError, TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        # A file that is a valid protocol buffer may still have wrong names, kinds of attributes and counts anywhere.
        raise ExportRefused(
            f"{path}: the file is damaged ({type(error).__name__}: {' '.join(str(error).split())[:200]}): export it anew"
        ) from error


def _source(
    model: onnx.ModelProto, path: Path, digest: str, names: tuple[str | None, str | None], features: Collection[str]
) -> GraphSource:
    external = onnx_tensors.external_tensors(model.graph, path.parent)
    network = read_network(model, external)
    sides = pick_sides("inputs of the model", list(network.inputs), *names, features)
    for name in sides:
        if network.inputs[name].shape not in ((), (1,)):
            raise ExportRefused(f"input {name!r} takes {list(network.inputs[name].shape)} values a row; it must take one id")
    scores = _own_scores(model, external, network)
    versions = {"onnx": onnx.__version__, "producer": f"{model.producer_name} {model.producer_version}".strip()}
    return GraphSource("onnx", versions, path.stem, network, *sides, scores, digest)


def _own_scores(model: onnx.ModelProto, external: Arrays, network: Network) -> Callable[[Arrays], Float64Array]:
    """A function that scores pairs by ONNX Runtime, with every node of the file, at the operator set that it was written for."""
    graph = _inlined(model).graph
    constants = {**onnx_tensors.initializers(graph, external), **external}
    dtypes = {name: declared.dtype for name, declared in network.inputs.items()}
    program = Program(list(graph.node), constants, dtypes, [_output(graph)], _opset(model))

    def scores(values: Arrays) -> Float64Array:
        (output,) = program.run({name: declared.batch(values[name]) for name, declared in network.inputs.items()})
        count = len(next(iter(values.values())))
        if output.size != count:
            raise ExportRefused(f"the model gives {list(output.shape)} for {count} pairs; it must give one score for each pair")
        return output.astype(np.float64).reshape(-1)

    return scores


def read_network(model: onnx.ModelProto, constants: Arrays | None = None) -> Network:
    """The graph of a model whose batch axis is dynamic; raises ExportRefused where it is no scorer of standard operators.

    `constants` are values, by name, that the graph reads and doesn't hold, such as memory maps or a framework's own memory; they
    are never copied.
    """
    external = dict(constants or {})
    _check_domains(model)
    model = _upgraded(_inlined(model), external)
    graph = model.graph
    values = {**onnx_tensors.initializers(graph, external), **external}
    nodes = []
    for node in graph.node:
        array = onnx_tensors.constant_value(node) if node.op_type == "Constant" else None
        if array is None:
            nodes.append(node)
        else:
            values[node.output[0]] = array
    output = _output(graph)
    inputs = [declared for declared in graph.input if declared.name not in values]  # old files list initializers as inputs too
    available = set(values) | {declared.name for declared in inputs}
    # Twice: `tidy` takes nodes in running order, and after it the output needs fewer of them.
    ordered, _ = _needed_nodes(nodes, output, available)
    ordered, output = onnx_tidy.tidy(ordered, values, output)
    ordered, names_read = _needed_nodes(ordered, output, available)
    values = {name: array for name, array in values.items() if name in names_read}
    _check_no_subgraphs(ordered)
    onnx_tensors.check_dtypes(values)
    _check_inputs_matter([declared.name for declared in inputs], names_read)
    return Network(tuple(ordered), values, {declared.name: _input(declared) for declared in inputs}, output, _opset(model))


def parse(source: str, body: bytes) -> onnx.ModelProto:
    """The model in the bytes of a file; raises ExportRefused if they are damaged. Its message calls the file `source`."""
    try:
        return onnx.load_from_string(body)
    except Exception as error:  # protobuf's DecodeError can't be imported with its type
        raise ExportRefused(f"{source}: not an ONNX model, or cut off ({error}): export it anew") from error


def _check_domains(model: onnx.ModelProto) -> None:
    local_functions = {(function.domain, function.name) for function in model.functions}
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    foreign = {
        (node.domain, node.op_type)
        for node in nodes
        if node.domain not in STANDARD_DOMAINS and (node.domain, node.op_type) not in local_functions
    }
    if foreign:
        listing = ", ".join(f"{domain}.{kind}" for domain, kind in sorted(foreign))
        raise ExportRefused(
            f"the model needs operators outside of standard ONNX ({listing}), which only some runtimes know: "
            "export it with standard operators only"
        )


def _opset(model: onnx.ModelProto) -> int:
    version = max((imported.version for imported in model.opset_import if imported.domain in STANDARD_DOMAINS), default=0)
    if not 1 <= version <= contract.MAX_OPSET:
        raise ExportRefused(
            f"the model uses operator set {version}; 1 to {contract.MAX_OPSET} are served: export it with one of these"
        )
    return version


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its own functions inlined, and without names of nodes, which mean nothing and may repeat."""
    if model.functions:
        model = inliner.inline_local_functions(model, convert_version=True)
    for node in model.graph.node:
        node.ClearField("name")
    return model


def _upgraded(model: onnx.ModelProto, external: Arrays) -> onnx.ModelProto:
    """The model at `OLDEST_OPSET` or above; `external` are the constants whose data the graph doesn't hold."""
    if _opset(model) >= OLDEST_OPSET:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    internal_tensors = [tensor for tensor in copy.graph.initializer if tensor.name not in external]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(internal_tensors)
    declared = {value.name for value in copy.graph.input}
    for name, array in external.items():
        if name not in declared:  # the converter refuses a name that is not declared
            dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
            copy.graph.input.append(helper.make_tensor_value_info(name, dtype, array.shape))
    try:
        return version_converter.convert_version(copy, UPGRADED_OPSET)
    except Exception as error:  # the converter's own assertions and lookups reach Python as several types
        raise ExportRefused(
            f"the model uses operator set {_opset(model)}, which can't be upgraded ({' '.join(str(error).split())[:200]}): "
            f"export it with operator set {UPGRADED_OPSET}"
        ) from error


def _output(graph: onnx.GraphProto) -> str:
    names: list[str] = [declared.name for declared in graph.output]
    if len(names) != 1:
        raise ExportRefused(f"the model has {len(names)} outputs ({', '.join(names) or 'none'}); it must give one, the score")
    return names[0]


def _needed_nodes(
    nodes: Sequence[onnx.NodeProto], output: str, available: Collection[str]
) -> tuple[list[onnx.NodeProto], set[str]]:
    """The nodes that the output needs, in running order, and the names of all values that they read.

    `available` has the names of inputs and constants, which no node computes. Raises ExportRefused for a value that nothing
    computes and for a cycle.
    """
    producers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    predecessors: dict[int, set[int]] = {}
    names_read, pending = {output}, [output]
    while pending:
        name = pending.pop()
        if name in available:
            continue
        if name not in producers:
            raise ExportRefused(f"the graph reads {name!r}, which nothing in it computes: the file is damaged")
        index = producers[name]
        if index not in predecessors:
            node_inputs = [input_name for input_name in nodes[index].input if input_name]
            predecessors[index] = {producers[input_name] for input_name in node_inputs if input_name in producers}
            names_read.update(node_inputs)
            pending += node_inputs
    try:
        return [_without_domain(nodes[index]) for index in TopologicalSorter(predecessors).static_order()], names_read
    except CycleError:
        raise ExportRefused("the graph has a cycle: the file is damaged") from None


def _without_domain(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node, with the standard domain under its empty name instead of `ai.onnx`."""
    if not node.domain:
        return node
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.domain = ""
    return copy


def _check_no_subgraphs(nodes: Sequence[onnx.NodeProto]) -> None:
    for node in nodes:
        if any(attribute.type in SUBGRAPHS for attribute in node.attribute):
            raise ExportRefused(
                f"the model branches or loops when it scores ({node.op_type} computes {node.output[0]!r}): "
                "export it without control flow. torch exports nn.EmbeddingBag so: use nn.Embedding(…)(codes).sum(1) instead"
            )


def _check_inputs_matter(inputs: Sequence[str], names_read: Collection[str]) -> None:
    unused_inputs = [name for name in inputs if name not in names_read]
    if unused_inputs:
        raise ExportRefused(
            f"the score doesn't depend on the model's input {', '.join(map(repr, unused_inputs))} "
            f"(its inputs are: {', '.join(inputs)}): "
            "take it out of the model, or look for a mistake in the forward pass"
        )


def _input(value: onnx.ValueInfoProto) -> Input:
    """An input as the graph declares it; raises ExportRefused unless its first axis is dynamic and every other one fixed."""
    name, tensor_type = value.name, value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor_type.HasField("shape"):
        raise ExportRefused(f"input {name!r} has no shape: declare it as [batch] or [batch, n]")
    sizes = [axis.dim_value if axis.dim_value > 0 else None for axis in tensor_type.shape.dim]
    shown = f"[{', '.join('batch' if size is None else str(size) for size in sizes)}]"
    if not sizes or sizes[0] is not None:
        raise ExportRefused(
            f"input {name!r} has the fixed shape {shown}, so no other number of pairs fits: {DYNAMIC_BATCH_ADVICE % name}"
        )
    row_shape = [size for size in sizes[1:] if size]
    if len(row_shape) != len(sizes) - 1:
        raise ExportRefused(f"input {name!r} has shape {shown}: every axis but the first needs a fixed size")
    return Input(name, _dtype(name, tensor_type.elem_type), tuple(row_shape))


def _dtype(name: str, element_type: int) -> np.dtype[Any]:
    dtype = helper.tensor_dtype_to_np_dtype(element_type) if element_type else np.dtype(object)
    if dtype.kind not in onnx_tensors.ACCEPTED_KINDS or dtype == np.float16:
        type_name = onnx.TensorProto.DataType.Name(element_type).lower()
        raise ExportRefused(f"input {name!r} takes {type_name}; it must take integers, booleans, float32 or float64")
    return dtype
