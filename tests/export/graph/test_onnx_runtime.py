"""What the exporter needs of ONNX Runtime beside its public interface."""

from types import SimpleNamespace

import onnxruntime

from recoserve_export.graph.onnx_runtime import PRIVATE_EXCEPTIONS, refusals


def test_the_exceptions_that_the_exporter_catches_are_where_it_looks_for_them():
    """Otherwise it catches every Exception, and a defect of ours would be told as a model that the runtime refuses."""
    private = onnxruntime.capi.onnxruntime_pybind11_state

    assert [name for name in PRIVATE_EXCEPTIONS if not hasattr(private, name)] == []
    assert [refusal.__name__ for refusal in refusals(onnxruntime)] == list(PRIVATE_EXCEPTIONS)


def test_a_version_without_them_has_every_exception_caught():
    assert refusals(SimpleNamespace(capi=SimpleNamespace())) == (Exception,)
