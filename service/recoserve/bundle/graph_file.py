"""The parts of an ONNX file that decide whether it is safe to load, parsed before ONNX Runtime opens it.

Paths and offsets of external data are checked before the runtime follows them, and operators before it runs them. An ONNX file is a
protocol buffer, of which a few fields are needed; they are parsed here, since the serving install has no onnx package. The field
numbers are those of onnx.proto.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from recoserve.bundle import contract

STANDARD_DOMAINS = ("", "ai.onnx")
ITEM_SIZES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8}  # TensorProto.DataType -> bytes per element
FLOAT, INT8, DOUBLE = 1, 3, 11
MAX_GRAPH_DEPTH = 8  # attributes of nodes (If, Loop) hold graphs; limited, so that no file exhausts the stack

# Field numbers, by message.
MODEL_GRAPH, MODEL_OPSET, MODEL_TRAINING, MODEL_FUNCTION = 7, 8, 20, 25
OPSET_DOMAIN, OPSET_VERSION = 1, 2
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE_INITIALIZER = 1, 5, 15
SPARSE_TENSOR_PARTS = (1, 2)  # values, indices
NODE_ATTRIBUTE, NODE_DOMAIN = 5, 7
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = (5, 10), (6, 11)  # one, or a list
TENSOR_DIMS, TENSOR_DATA_TYPE, TENSOR_NAME, TENSOR_RAW, TENSOR_EXTERNAL, TENSOR_LOCATION = 1, 2, 8, 9, 13, 14
LOCATION_EXTERNAL = 1
ENTRY_KEY, ENTRY_VALUE = 1, 2

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
UINT64 = (1 << 64) - 1


@dataclass
class Tensor:
    """One tensor, `data_type` as in TensorProto.DataType; `external` holds location, offset and length as the file has them."""

    name: str = ""
    dims: tuple[int, ...] = ()
    data_type: int = 0
    raw: memoryview | bytes = b""
    external: dict[str, str] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """The size in bytes, by data type and shape; 0 for a type that isn't in `ITEM_SIZES`."""
        return prod(self.dims) * ITEM_SIZES.get(self.data_type, 0)

    @property
    def byte_range(self) -> tuple[str, int, int]:
        """File, offset and size of external data. To be read only after `tensor_problems` found nothing."""
        return self.external["location"], int(self.external.get("offset", "0")), self.nbytes


@dataclass
class GraphFile:
    """The parts of a model file that are checked; the graphs within its graph are included."""

    opsets: dict[str, int] = field(default_factory=dict)  # domain -> version
    domains: set[str] = field(default_factory=set)  # of the nodes' operators
    node_count: int = 0
    has_training_or_functions: bool = False  # training information, or functions that the model defines
    tensors: list[Tensor] = field(default_factory=list)


def parse(body: bytes) -> GraphFile:
    """The checked parts of a model file; raises ValueError where it is cut off or not a protocol buffer."""
    graph = GraphFile()
    for number, value in _fields(memoryview(body)):
        if number == MODEL_OPSET:
            members = dict(_fields(_message(value)))
            graph.opsets[_text(members.get(OPSET_DOMAIN, b""))] = _number(members.get(OPSET_VERSION, 0))
        elif number == MODEL_GRAPH:
            _add_graph(_message(value), graph, depth=0)
        elif number in (MODEL_TRAINING, MODEL_FUNCTION):
            graph.has_training_or_functions = True
    return graph


def problems(graph: GraphFile, sizes: Mapping[str, int]) -> Iterator[str]:
    """Why a graph must not be loaded, given the sizes of the bundle's files by name; nothing where it may be."""
    if not graph.node_count:
        yield "holds no graph"
    if graph.has_training_or_functions:
        yield "holds training information or functions of its own; only graphs of standard ONNX operators are served"
    for domain in sorted((graph.domains | set(graph.opsets)) - set(STANDARD_DOMAINS)):
        yield f"needs the operator domain {domain!r}; only standard ONNX operators are served"
    opset = max((graph.opsets.get(domain, 0) for domain in STANDARD_DOMAINS), default=0)
    if not 1 <= opset <= contract.MAX_OPSET:
        yield f"uses operator set {opset}; 1 to {contract.MAX_OPSET} are served"
    for tensor in graph.tensors:
        yield from tensor_problems(tensor, sizes)


def tensor_problems(tensor: Tensor, sizes: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with a tensor's shape, its values, or the location that it gives for its external data."""
    if any(size < 0 for size in tensor.dims):
        yield f"tensor {tensor.name!r} has a negative dimension"
    elif tensor.external:
        location = tensor.external.get("location", "")
        offset, length = tensor.external.get("offset", "0"), tensor.external.get("length", str(tensor.nbytes))
        if location not in sizes:
            yield f"tensor {tensor.name!r} lies outside the bundle's own files"
        elif not all(text.isascii() and text.isdigit() and len(text) < 20 for text in (offset, length)):
            yield f"tensor {tensor.name!r} has an offset or length that is not a number of 0 or more"
        elif int(length) != tensor.nbytes or int(offset) + tensor.nbytes > sizes[location]:
            yield f"tensor {tensor.name!r} does not fit {location}: its shape, length and offset disagree with the file"
    elif tensor.data_type in (FLOAT, DOUBLE) and len(tensor.raw) and not np.isfinite(_floats(tensor)).all():
        yield f"tensor {tensor.name!r} holds NaN or infinity"


def _floats(tensor: Tensor) -> np.ndarray:
    """The complete values of an inline tensor. If the last one is cut off, ONNX Runtime refuses the tensor itself."""
    dtype = np.dtype(np.float64 if tensor.data_type == DOUBLE else np.float32)
    return np.frombuffer(tensor.raw[: len(tensor.raw) // dtype.itemsize * dtype.itemsize], dtype)


def _add_graph(body: memoryview, graph: GraphFile, depth: int) -> None:
    if depth > MAX_GRAPH_DEPTH:
        raise ValueError("graphs are nested too deeply")
    for number, value in _fields(body):
        if number == GRAPH_NODE:
            graph.node_count += 1
            _add_node(_message(value), graph, depth)
        elif number == GRAPH_INITIALIZER:
            graph.tensors.append(_tensor(_message(value)))
        elif number == GRAPH_SPARSE_INITIALIZER:
            graph.tensors += [_tensor(_message(dense)) for inner, dense in _fields(_message(value)) if inner in SPARSE_TENSOR_PARTS]


def _add_node(body: memoryview, graph: GraphFile, depth: int) -> None:
    graph.domains.add("")
    for number, value in _fields(body):
        if number == NODE_DOMAIN:
            graph.domains.add(_text(value))
        elif number == NODE_ATTRIBUTE:
            for inner, member in _fields(_message(value)):
                if inner in ATTRIBUTE_TENSORS:
                    graph.tensors.append(_tensor(_message(member)))
                elif inner in ATTRIBUTE_GRAPHS:
                    _add_graph(_message(member), graph, depth + 1)


def _tensor(body: memoryview) -> Tensor:
    tensor = Tensor()
    for number, value in _fields(body):
        if number == TENSOR_DIMS:
            # A writer may store repeated integers in a field each, or packed: all of them as bytes in one field.
            sizes = [value] if isinstance(value, int) else list(_varints(value))
            tensor.dims += tuple(size - (1 << 64) if size >> 63 else size for size in sizes)
        elif number == TENSOR_DATA_TYPE:
            tensor.data_type = _number(value)
        elif number == TENSOR_NAME:
            tensor.name = _text(value)
        elif number == TENSOR_RAW:
            tensor.raw = _message(value)
        elif number == TENSOR_EXTERNAL:
            members = dict(_fields(_message(value)))
            tensor.external[_text(members.get(ENTRY_KEY, b""))] = _text(members.get(ENTRY_VALUE, b""))
        elif number == TENSOR_LOCATION and value == LOCATION_EXTERNAL:
            # For a tensor that is declared external but has no location: the empty name is no file of the bundle, and so refused.
            tensor.external.setdefault("location", "")
    return tensor


def _fields(body: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: the number of each, and its value, an integer or bytes."""
    position = 0
    while position < len(body):
        key, position = _varint(body, position)
        wire_type = key & 7
        if wire_type == VARINT:
            value, position = _varint(body, position)
            yield key >> 3, value
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(wire_type, 0)
        if wire_type == BYTES:
            size, position = _varint(body, position)
        elif not size:
            raise ValueError("not a protocol buffer")
        if position + size > len(body):
            raise ValueError("cut off")
        yield key >> 3, body[position : position + size]
        position += size


def _varint(body: memoryview, position: int) -> tuple[int, int]:
    """The integer at a position, stored seven bits a byte, the lowest first; and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(body):
            raise ValueError("cut off")
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & UINT64, position
    raise ValueError("not a protocol buffer")


def _varints(body: memoryview) -> Iterator[int]:
    position = 0
    while position < len(body):
        value, position = _varint(body, position)
        yield value


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("not a protocol buffer")
    return value


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ValueError("not a protocol buffer")
    return value


def _text(value: int | memoryview | bytes) -> str:
    if isinstance(value, int):
        raise ValueError("not a protocol buffer")
    return bytes(value).decode("utf-8")
