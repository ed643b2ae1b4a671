"""What an ONNX file says of itself, read without the onnx package and before the runtime sees it.

An ONNX file is a protocol buffer. This reads the few fields that decide whether it is safe to hand to the runtime:
operator sets, node domains, and every tensor with where its bytes lie. Field numbers are those of onnx.proto.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from recoserve.bundle import contract

STANDARD_DOMAINS = ("", "ai.onnx")
ITEM_SIZES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8}  # TensorProto.DataType -> bytes per element
FLOAT, INT8, DOUBLE = 1, 3, 11


@dataclass
class Tensor:
    """One initializer: dtype as in TensorProto.DataType; `external` holds location, offset and length as written."""

    name: str = ""
    dims: tuple[int, ...] = ()
    data_type: int = 0
    raw: memoryview | bytes = b""
    external: dict[str, str] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return prod(self.dims) * ITEM_SIZES.get(self.data_type, 0)

    @property
    def span(self) -> tuple[str, int, int]:
        """File, offset and length of external data; only after `tensor_problems` found nothing."""
        return self.external["location"], int(self.external.get("offset", "0")), self.nbytes


@dataclass
class GraphFile:
    """The parts of a model file that are checked before it is loaded."""

    opsets: dict[str, int] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    nodes: int = 0
    tensors: list[Tensor] = field(default_factory=list)


def read(body: bytes) -> GraphFile:
    """Parse a model file; raises ValueError where it is cut off or not a protocol buffer."""
    found = GraphFile()
    for number, value in _fields(memoryview(body)):
        if number == 8:
            members = dict(_fields(_message(value)))
            found.opsets[_text(members.get(1, b""))] = _number(members.get(2, 0))
        elif number == 7:
            _graph(_message(value), found, depth=0)
        elif number in (20, 25):
            found.domains.add("training or model-local functions")
    return found


def problems(graph: GraphFile, sizes: Mapping[str, int]) -> Iterator[str]:
    """What makes a graph unfit to load, given the bundle's files and their sizes."""
    if not graph.nodes:
        yield "holds no graph"
    for domain in sorted((graph.domains | set(graph.opsets)) - set(STANDARD_DOMAINS)):
        yield f"needs the operator domain {domain!r}; only standard ONNX operators are served"
    opset = max((graph.opsets.get(domain, 0) for domain in STANDARD_DOMAINS), default=0)
    if not 1 <= opset <= contract.MAX_OPSET:
        yield f"uses operator set {opset}; 1 to {contract.MAX_OPSET} are served"
    for tensor in graph.tensors:
        yield from tensor_problems(tensor, sizes)


def tensor_problems(tensor: Tensor, sizes: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with a tensor's shape, or with where its external data is said to lie."""
    if any(size < 0 for size in tensor.dims):
        yield f"tensor {tensor.name!r} has a negative dimension"
    elif tensor.external:
        location = tensor.external.get("location", "")
        spans = [tensor.external.get("offset", "0"), tensor.external.get("length", str(tensor.nbytes))]
        if location not in sizes:
            yield f"tensor {tensor.name!r} lies outside the bundle's own files"
        elif not all(text.isascii() and text.isdigit() and len(text) < 20 for text in spans):
            yield f"tensor {tensor.name!r} has an offset or length that is not a number of 0 or more"
        elif int(spans[1]) != tensor.nbytes or int(spans[0]) + tensor.nbytes > sizes[location]:
            yield f"tensor {tensor.name!r} does not fit {location}: its shape, length and offset disagree with the file"
    elif tensor.data_type in (FLOAT, DOUBLE) and len(tensor.raw) and not np.isfinite(_floats(tensor)).all():
        yield f"tensor {tensor.name!r} holds NaN or infinity"


def _floats(tensor: Tensor) -> np.ndarray:
    raw = tensor.raw[: len(tensor.raw) // 8 * 8 if tensor.data_type == DOUBLE else len(tensor.raw) // 4 * 4]
    return np.frombuffer(raw, np.float64 if tensor.data_type == DOUBLE else np.float32)


def _graph(body: memoryview, found: GraphFile, depth: int) -> None:
    if depth > 8:
        raise ValueError("graphs are nested too deeply")
    for number, value in _fields(body):
        if number == 1:
            found.nodes += 1
            _node(_message(value), found, depth)
        elif number == 5:
            found.tensors.append(_tensor(_message(value)))
        elif number == 15:
            found.tensors += [_tensor(_message(part)) for inner, part in _fields(_message(value)) if inner in (1, 2)]


def _node(body: memoryview, found: GraphFile, depth: int) -> None:
    found.domains.add("")
    for number, value in _fields(body):
        if number == 7:
            found.domains.add(_text(value))
        elif number == 5:
            for inner, part in _fields(_message(value)):
                if inner in (5, 10):
                    found.tensors.append(_tensor(_message(part)))
                elif inner in (6, 11):
                    _graph(_message(part), found, depth + 1)


def _tensor(body: memoryview) -> Tensor:
    tensor = Tensor()
    for number, value in _fields(body):
        if number == 1:
            packed = [value] if isinstance(value, int) else list(_varints(value))
            tensor.dims += tuple(size - (1 << 64) if size >> 63 else size for size in packed)
        elif number == 2:
            tensor.data_type = _number(value)
        elif number == 8:
            tensor.name = _text(value)
        elif number == 9:
            tensor.raw = _message(value)
        elif number == 13:
            members = dict(_fields(_message(value)))
            tensor.external[_text(members.get(1, b""))] = _text(members.get(2, b""))
        elif number == 14 and value == 1:
            tensor.external.setdefault("location", "")
    return tensor


def _fields(body: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Walk a message: (field number, integer or bytes). Wire types: 0 varint, 1 fixed64, 2 length-delimited, 5 fixed32."""
    place = 0
    while place < len(body):
        key, place = _varint(body, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(body, place)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind, 0)
        if kind == 2:
            size, place = _varint(body, place)
        elif not size:
            raise ValueError("not a protocol buffer")
        if place + size > len(body):
            raise ValueError("cut off")
        yield key >> 3, body[place : place + size]
        place += size


def _varint(body: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(body):
            raise ValueError("cut off")
        byte = body[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place
    raise ValueError("not a protocol buffer")


def _varints(body: memoryview) -> Iterator[int]:
    place = 0
    while place < len(body):
        value, place = _varint(body, place)
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
