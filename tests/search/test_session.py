"""ONNX Runtime behind its own door: providers by name, and refusals in our words."""

import os
import subprocess
import sys

import onnxruntime
import pytest

from recoserve.errors import BundleInvalid, ProviderUnavailable
from recoserve.search.session import CUDA, OnnxSession, resolve_provider

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


def test_the_runtime_keeps_no_device_id_and_so_reports_nothing(bundle, tmp_path):
    """Its telemetry writes one under the home folder as soon as it starts, network or not."""
    keep = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "CI")}
    done = subprocess.run(
        [sys.executable, "-m", "recoserve", "verify", bundle], env={**keep, "HOME": str(tmp_path)}, capture_output=True
    )

    assert done.returncode == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
