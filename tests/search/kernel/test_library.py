"""Which library is taken: the best that the processor can run, of those that were built and can be loaded."""

import platform
import shutil
from pathlib import Path

import numpy as np
import pytest

from recoserve.search.kernel.library import FOLDER, INSTRUCTION_SETS, best, libraries

AVX2 = "fpu sse2 ssse3 fma sse4_1 sse4_2 avx bmi1 avx2 bmi2"
FLAGS = {
    "every one": f"{AVX2} avx512f avx512dq avx512bw avx512vl avx512_vnni avx512_bf16",
    "avx2 alone": AVX2,
    "avx-512 without vnni": f"{AVX2} avx512f avx512dq avx512bw avx512vl",
    "avx-vnni, which is another": f"{AVX2} avx_vnni",
    "avx without avx2": "fpu sse2 ssse3 fma sse4_1 sse4_2 avx",
    "none": "",
}
ABLE = {"every one": ["avx512vnni", "avx2"], "avx2 alone": ["avx2"], "avx-512 without vnni": ["avx2"]}
ABLE |= {"avx-vnni, which is another": ["avx2"], "avx without avx2": [], "none": []}


@pytest.fixture
def cpuinfo(tmp_path):
    """Writes what a processor says of itself."""

    def write(flags):
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: A Processor\nflags\t\t: {flags}\nbugs\t\t:\n")
        return tmp_path / "cpuinfo"

    return write


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Every library, in name alone; of x86-64, wherever this runs."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for name in INSTRUCTION_SETS:
        (tmp_path / f"kernel-{name}.so").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize("flags", FLAGS)
def test_the_processor_decides_the_best_first(folder, cpuinfo, flags):
    assert ABLE[flags] == list(libraries(folder, cpuinfo(FLAGS[flags])))


def test_only_what_was_built_is_taken(folder, cpuinfo):
    (folder / "kernel-avx512vnni.so").unlink()
    assert {"avx2": folder / "kernel-avx2.so"} == libraries(folder, cpuinfo(FLAGS["every one"]))

    (folder / "kernel-avx2.so").unlink()
    (folder / "kernel-avx2.so").mkdir()
    assert libraries(folder, cpuinfo(FLAGS["every one"])) == {}


def test_a_machine_that_tells_nothing_or_is_another_has_none(folder, cpuinfo, monkeypatch):
    assert libraries(folder, folder / "absent") == {}

    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert libraries(folder, cpuinfo(FLAGS["every one"])) == {}


@pytest.fixture(params=["nothing", "no library", "another library"])
def broken(request, folder):
    """Files that aren't what their names say: empty, of another kind, or a library without the kernel's functions."""
    other = Path(np.random.bit_generator.__file__).read_bytes()
    content = {"nothing": b"", "no library": b"int main;" * 999, "another library": other}[request.param]
    for name in INSTRUCTION_SETS:
        (folder / f"kernel-{name}.so").write_bytes(content)
    return folder


def test_what_cannot_be_loaded_is_passed_over(broken, cpuinfo):
    assert best(broken, cpuinfo(FLAGS["every one"])) is None


def test_the_next_best_is_taken_then(broken, cpuinfo, library):
    """Whichever of them is whole."""
    shutil.copy(FOLDER / f"kernel-{library.name}.so", broken)
    assert best(broken, cpuinfo(FLAGS["every one"])).name == library.name
