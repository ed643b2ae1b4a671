"""An ONNX model of any maker: its graph opened up into constants, inputs and the operators that the score needs."""

from collections.abc import Callable, Collection, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from recoserve.bundle import contract
from recoserve.bundle.arrays import Float64Array
from recoserve.bundle.graph_file import STANDARD_DOMAINS
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Arrays, GraphSource, Input, Network
from recoserve_export.graph.program import Program
from recoserve_export.sources import onnx_tensors, onnx_tidy
from recoserve_export.sources.tables import file_digest, pick_sides

OLDEST, UPGRADED = 13, 18  # below the first, axes are attributes nearly everywhere: such a graph is upgraded to the second
REMEDY = "Pass --user-input NAME and --item-input NAME"
SUBGRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
DYNAMIC_BATCH = (
    'export it with a dynamic batch axis, such as dynamic_axes={"%s": {0: "batch"}} of torch.onnx.export, '
    "dynamic_shapes with dynamo=True, or an input of shape [None] in Keras"
)


def load(path: Path, user: str | None = None, item: str | None = None, features: Collection[str] = ()) -> GraphSource:
    """A `.onnx` file of any maker, its tensors in it or beside it; raises ExportRefused.

    `user` and `item` name inputs where their own names don't tell; every other input is a feature of the item. Its own scores are
    those of ONNX Runtime on the graph as the file has it.
    """
    digest = file_digest(path)
    try:
        return _source(parsed(path.read_bytes()), path, digest, (user, item), features)
    except (UnicodeError, TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        # A protocol buffer vouches for no name, no attribute's kind and no count in it.
        raise ExportRefused(
            f"{path}: the file is damaged ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        ) from error


def _source(
    model: onnx.ModelProto, path: Path, digest: str, named: tuple[str | None, str | None], features: Collection[str]
) -> GraphSource:
    mapped = onnx_tensors.external_tensors(model.graph, path.parent)
    opened = network(model, mapped)
    sides = pick_sides("inputs of the model", list(opened.inputs), *named, REMEDY, features)
    for name in sides:
        if opened.inputs[name].shape not in ((), (1,)):
            raise ExportRefused(f"input {name!r} takes {list(opened.inputs[name].shape)} values a row; it must take one id")
    scores = _own_scores(model, mapped, opened)
    versions = {"onnx": onnx.__version__, "producer": f"{model.producer_name} {model.producer_version}".strip()}
    return GraphSource("onnx", versions, path.stem, opened, *sides, scores, digest)


def _own_scores(model: onnx.ModelProto, mapped: Arrays, opened: Network) -> Callable[[Arrays], Float64Array]:
    """ONNX Runtime on every node of the file, at the operator set that it was written for."""
    graph = _inlined(model).graph
    constants = {**onnx_tensors.initializers(graph, mapped), **mapped}
    dtypes = {name: each.dtype for name, each in opened.inputs.items()}
    program = Program(list(graph.node), constants, dtypes, [_output(graph)], _opset(model))

    def scores(values: Arrays) -> Float64Array:
        (found,) = program.run({name: each.batch(values[name]) for name, each in opened.inputs.items()})
        count = len(next(iter(values.values())))
        if found.size != count:
            raise ExportRefused(f"the model gives {list(found.shape)} for {count} pairs; it must give one score for each")
        return found.astype(np.float64).reshape(-1)

    return scores


def network(model: onnx.ModelProto, constants: Arrays | None = None) -> Network:
    """Open a model whose batch axis is dynamic; raises ExportRefused where it is no scorer of standard operators.

    `constants` are values that the graph names and doesn't hold, such as memory maps or a framework's own memory; never copied.
    """
    given = dict(constants or {})
    _check_domains(model)
    model = _current(_inlined(model), given)
    graph = model.graph
    values = {**onnx_tensors.initializers(graph, given), **given}
    nodes = []
    for node in graph.node:
        array = onnx_tensors.constant(node) if node.op_type == "Constant" else None
        if array is None:
            nodes.append(node)
        else:
            values[node.output[0]] = array
    output = _output(graph)
    inputs = [each for each in graph.input if each.name not in values]
    given_names = set(values) | {each.name for each in inputs}
    order, output = onnx_tidy.tidied(_needed(nodes, output, given_names)[0], values, output)
    order, used = _needed(order, output, given_names)
    known = {name: array for name, array in values.items() if name in used}
    _check_operators(order)
    onnx_tensors.check(known)
    _check_used([each.name for each in inputs], used)
    return Network(tuple(order), known, {each.name: _input(each) for each in inputs}, output, _opset(model))


def parsed(body: bytes) -> onnx.ModelProto:
    """A model file's content; raises ExportRefused where it is damaged."""
    try:
        return onnx.load_from_string(body)
    except Exception as error:  # protobuf's own DecodeError has no typed home to import it from
        raise ExportRefused(f"not an ONNX model, or cut off: {error}") from error


def _check_domains(model: onnx.ModelProto) -> None:
    local = {(each.domain, each.name) for each in model.functions}
    nodes = [*model.graph.node, *(node for each in model.functions for node in each.node)]
    foreign = {
        (node.domain, node.op_type)
        for node in nodes
        if node.domain not in STANDARD_DOMAINS and (node.domain, node.op_type) not in local
    }
    if foreign:
        listing = ", ".join(f"{domain}.{kind}" for domain, kind in sorted(foreign))
        raise ExportRefused(f"the model needs operators outside of standard ONNX ({listing}), which only some runtimes know")


def _opset(model: onnx.ModelProto) -> int:
    found = max((each.version for each in model.opset_import if each.domain in STANDARD_DOMAINS), default=0)
    if not 1 <= found <= contract.MAX_OPSET:
        raise ExportRefused(
            f"the model uses operator set {found}; 1 to {contract.MAX_OPSET} are served: export it with a lower one"
        )
    return found


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions of its own, and without names of nodes: they mean nothing, and exporters give one twice."""
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model, convert_version=True)
    for node in model.graph.node:
        node.ClearField("name")
    return model


def _current(model: onnx.ModelProto, given: Arrays) -> onnx.ModelProto:
    """The model with axes as inputs, as operators have them today."""
    if _opset(model) >= OLDEST:
        return model
    from onnx import version_converter

    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    inside = [each for each in whole.graph.initializer if each.name not in given]
    del whole.graph.initializer[:]
    whole.graph.initializer.extend(inside)
    listed = {each.name for each in whole.graph.input}
    for name, array in given.items():
        if name not in listed:  # the converter wants every name declared
            dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
            whole.graph.input.append(helper.make_tensor_value_info(name, dtype, array.shape))
    try:
        return version_converter.convert_version(whole, UPGRADED)
    except Exception as error:  # the converter's own assertions and lookups reach Python as several types
        raise ExportRefused(
            f"the model uses operator set {_opset(model)}, which can't be upgraded ({' '.join(str(error).split())[:200]}): "
            f"export it with operator set {UPGRADED}"
        ) from error


def _output(graph: onnx.GraphProto) -> str:
    names: list[str] = [each.name for each in graph.output]
    if len(names) != 1:
        raise ExportRefused(f"the model has {len(names)} outputs ({', '.join(names) or 'none'}); it must give one, the score")
    return names[0]


def _needed(nodes: Sequence[onnx.NodeProto], output: str, given: set[str]) -> tuple[list[onnx.NodeProto], set[str]]:
    """The nodes that the output needs, in running order, and every name that they read."""
    makers = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    behind: dict[int, set[int]] = {}
    used, waiting = {output}, [output]
    while waiting:
        name = waiting.pop()
        if name in given:
            continue
        if name not in makers:
            raise ExportRefused(f"the graph reads {name!r}, which nothing in it makes: the file is damaged")
        place = makers[name]
        if place not in behind:
            reads = [each for each in nodes[place].input if each]
            behind[place] = {makers[each] for each in reads if each in makers}
            used.update(reads)
            waiting += reads
    try:
        order = TopologicalSorter(behind).static_order()
        return [_plain(nodes[place]) for place in order], used
    except CycleError:
        raise ExportRefused("the graph runs in a circle: the file is damaged") from None


def _plain(node: onnx.NodeProto) -> onnx.NodeProto:
    if not node.domain:
        return node
    found = onnx.NodeProto()
    found.CopyFrom(node)
    found.domain = ""
    return found


def _check_operators(nodes: Sequence[onnx.NodeProto]) -> None:
    for node in nodes:
        if any(each.type in SUBGRAPHS for each in node.attribute):
            raise ExportRefused(
                f"the model branches or loops when it scores ({node.op_type} makes {node.output[0]!r}): "
                "export it without control flow. torch writes nn.EmbeddingBag so: nn.Embedding(…)(codes).sum(1) says the same"
            )


def _check_used(inputs: Sequence[str], used: set[str]) -> None:
    idle = [name for name in inputs if name not in used]
    if idle:
        raise ExportRefused(
            f"the score doesn't depend on the model's input {', '.join(map(repr, idle))} (its inputs are: {', '.join(inputs)}): "
            "take it out of the model, or look for a mistake in the forward pass"
        )


def _input(value: onnx.ValueInfoProto) -> Input:
    """An input as the graph declares it: a row axis of any length, and the static shape of one row."""
    name, kind = value.name, value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise ExportRefused(f"input {name!r} has no shape: declare it as [batch] or [batch, n]")
    sizes = [each.dim_value if each.dim_value > 0 else None for each in kind.shape.dim]
    shown = f"[{', '.join('batch' if size is None else str(size) for size in sizes)}]"
    if not sizes or sizes[0] is not None:
        raise ExportRefused(f"input {name!r} has the fixed shape {shown}, so no other number of pairs fits: {DYNAMIC_BATCH % name}")
    row = [size for size in sizes[1:] if size]
    if len(row) != len(sizes) - 1:
        raise ExportRefused(f"input {name!r} has shape {shown}: every axis but the first needs a fixed size")
    return Input(name, _dtype(name, kind.elem_type), tuple(row))


def _dtype(name: str, kind: int) -> np.dtype[Any]:
    found = helper.tensor_dtype_to_np_dtype(kind) if kind else np.dtype(object)
    if found.kind not in onnx_tensors.NUMBERS or found == np.float16:
        taken = onnx.TensorProto.DataType.Name(kind).lower()
        raise ExportRefused(f"input {name!r} takes {taken}; it must take whole numbers or float32")
    return found
