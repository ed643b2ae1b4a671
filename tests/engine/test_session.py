"""ONNX Runtime behind its own door: providers by name, and refusals in our words."""

import onnxruntime
import pytest

from service.engine.session import CUDA, OnnxSession, resolve_provider
from service.errors import BundleInvalid, ProviderUnavailable

HAS_CUDA = CUDA in onnxruntime.get_available_providers()


def test_cpu_is_always_there_and_auto_takes_the_best():
    assert resolve_provider("cpu") == "cpu"
    assert ("cuda" if HAS_CUDA else "cpu") == resolve_provider("auto")


def test_cuda_is_an_error_where_it_is_absent_and_says_what_to_do():
    if HAS_CUDA:
        assert resolve_provider("cuda") == "cuda"
    else:
        with pytest.raises(ProviderUnavailable, match="onnxruntime-gpu"):
            resolve_provider("cuda")


def test_a_file_that_the_runtime_refuses_is_a_bundle_error(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08")

    with pytest.raises(BundleInvalid, match=r"model\.onnx: ONNX Runtime refuses it"):
        OnnxSession(tmp_path / "model.onnx", "cpu", 1)
