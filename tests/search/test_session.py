"""Sessions of ONNX Runtime: which provider runs them, what they refuse, and what the exporter needs of the runtime's insides."""

import os
import subprocess
import sys

import onnxruntime
import pytest

from recoserve.errors import BundleInvalid, ProviderUnavailable
from recoserve.search.session import CUDA, OnnxSession, resolve_provider

HAS_CUDA = CUDA in onnxruntime.get_available_providers()


def test_cpu_always_works_and_auto_is_cuda_where_there_is_cuda():
    assert resolve_provider("cpu") == "cpu"
    assert ("cuda" if HAS_CUDA else "cpu") == resolve_provider("auto")


def test_cuda_where_there_is_none_is_an_error_that_says_what_to_install():
    if HAS_CUDA:
        assert resolve_provider("cuda") == "cuda"
    else:
        with pytest.raises(ProviderUnavailable, match="onnxruntime-gpu"):
            resolve_provider("cuda")


def test_a_file_that_the_runtime_refuses_makes_the_bundle_invalid(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08")

    with pytest.raises(BundleInvalid, match=r"model\.onnx: ONNX Runtime refuses it"):
        OnnxSession(tmp_path / "model.onnx", "cpu", 1)


def test_the_runtime_writes_no_device_id_and_so_reports_nothing(bundle, tmp_path):
    """Its telemetry writes one under the home folder as soon as it starts, network or not."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "CI")
    }
    process = subprocess.run(
        [sys.executable, "-m", "recoserve", "verify", bundle], env={**environment, "HOME": str(tmp_path)}, capture_output=True
    )

    assert process.returncode == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
