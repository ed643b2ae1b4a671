"""An ONNX file is parsed and checked before the runtime opens it, whatever its bytes are."""

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.bundle import graph_file


def test_it_parses_what_the_onnx_package_wrote(bundle):
    """The package is the oracle for operator sets, tensors, and where their bytes lie."""
    expected = onnx.load(bundle / "model.onnx", load_external_data=False)
    graph = graph_file.parse((bundle / "model.onnx").read_bytes())

    assert {entry.domain: entry.version for entry in expected.opset_import} == graph.opsets
    assert len(expected.graph.node) == graph.node_count
    for tensor, parsed in zip(expected.graph.initializer, graph.tensors[-len(expected.graph.initializer) :], strict=True):
        assert (tensor.name, tuple(tensor.dims), tensor.data_type) == (parsed.name, parsed.dims, parsed.data_type)
        assert {entry.key: entry.value for entry in tensor.external_data} == parsed.external


@given(st.binary(max_size=300))
def test_random_bytes_are_a_value_error_or_a_small_graph(body):
    """Law: no bytes crash the parser, hang it or raise anything but ValueError."""
    try:
        list(graph_file.problems(graph_file.parse(body), {}))
    except ValueError as error:
        assert str(error)


@given(st.data())
def test_a_damaged_graph_never_crashes_the_parser(graph_bytes, data):
    """Law: as for random bytes, a few bytes away from a real file."""
    body = bytearray(graph_bytes)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        list(graph_file.problems(graph_file.parse(bytes(body)), {"tensors.bin": 10_000}))
    except ValueError as error:
        assert str(error)


@pytest.fixture(scope="module")
def graph_bytes(bundle):
    return (bundle / "model.onnx").read_bytes()
