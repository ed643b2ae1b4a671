"""Which library is loaded: the best that the processor can run, of those that were built and fit; and what a library exports."""

import ctypes
import platform
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from recoserve.search.kernel.library import FOLDER, INSTRUCTION_SETS, KernelLibrary, libraries, load_best
from tests.search.kernel.elf import exported_symbols

AVX2 = "fpu sse2 ssse3 fma sse4_1 sse4_2 avx bmi1 avx2 bmi2"
FLAGS = {
    "every one": f"{AVX2} avx512f avx512dq avx512bw avx512vl avx512_vnni avx512_bf16",
    "avx2 alone": AVX2,
    "avx-512 without vnni": f"{AVX2} avx512f avx512dq avx512bw avx512vl",
    "avx-vnni, which is another": f"{AVX2} avx_vnni",
    "avx without avx2": "fpu sse2 ssse3 fma sse4_1 sse4_2 avx",
    "none": "",
}
RUNNABLE = {"every one": ["avx512vnni", "avx2"], "avx2 alone": ["avx2"], "avx-512 without vnni": ["avx2"]}
RUNNABLE |= {"avx-vnni, which is another": ["avx2"], "avx without avx2": [], "none": []}


@pytest.fixture
def cpuinfo(tmp_path):
    """Writes a file as the kernel of Linux describes a processor with some flags."""

    def write(flags):
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: A Processor\nflags\t\t: {flags}\nbugs\t\t:\n")
        return tmp_path / "cpuinfo"

    return write


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty file in place of every library, on what seems to be an x86-64 machine wherever this runs."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for name in INSTRUCTION_SETS:
        (tmp_path / f"kernel-{name}.so").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize("flags", FLAGS)
def test_libraries_are_those_that_the_processor_can_run_the_best_first(folder, cpuinfo, flags):
    assert RUNNABLE[flags] == list(libraries(folder, cpuinfo(FLAGS[flags])))


def test_libraries_that_were_not_built_are_left_out(folder, cpuinfo):
    (folder / "kernel-avx512vnni.so").unlink()
    assert {"avx2": folder / "kernel-avx2.so"} == libraries(folder, cpuinfo(FLAGS["every one"]))

    (folder / "kernel-avx2.so").unlink()
    (folder / "kernel-avx2.so").mkdir()
    assert libraries(folder, cpuinfo(FLAGS["every one"])) == {}


def test_a_machine_without_cpuinfo_or_of_another_architecture_has_no_library(folder, cpuinfo, monkeypatch):
    assert libraries(folder, folder / "absent") == {}

    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert libraries(folder, cpuinfo(FLAGS["every one"])) == {}


@pytest.fixture(params=["empty", "not a library", "another library"])
def broken(request, folder):
    """Files that aren't what their names say: empty, of another kind, or a library without the kernel's functions."""
    other = Path(np.random.bit_generator.__file__).read_bytes()
    content = {"empty": b"", "not a library": b"int main;" * 999, "another library": other}[request.param]
    for name in INSTRUCTION_SETS:
        (folder / f"kernel-{name}.so").write_bytes(content)
    return folder


def test_no_library_is_loaded_where_none_can_be(broken, cpuinfo):
    assert load_best(broken, cpuinfo(FLAGS["every one"])) is None


def test_a_library_that_cannot_be_loaded_leaves_its_place_to_the_next(broken, cpuinfo, library):
    """Whichever of them is intact."""
    shutil.copy(FOLDER / f"kernel-{library.name}.so", broken)
    assert load_best(broken, cpuinfo(FLAGS["every one"])).name == library.name


def test_a_library_compiled_with_other_constants_is_refused(library, monkeypatch):
    """Such as one from sources of another version, whose blocks are larger."""
    monkeypatch.setattr("recoserve.bundle.contract.BLOCK", 64)
    with pytest.raises(OSError, match="block 32, not 64"):
        KernelLibrary(library.name, FOLDER / f"kernel-{library.name}.so")


def test_a_library_exports_what_kernel_h_documents_and_nothing_else(library):
    """Every exported function has the prefix, its documentation comment, and its types in `KernelLibrary`."""
    header = (FOLDER / "kernel.h").read_text()
    documented = set(re.findall(r"\*/\nRS_EXPORT [^;]*?\b(\w+)\(", header))

    assert documented == exported_symbols(FOLDER / f"kernel-{library.name}.so")
    assert len(documented) == header.count("\nRS_EXPORT ") == header.count("@brief")
    assert {name for name in documented if not name.startswith("rs_")} == set()
    assert {value.__name__ for value in vars(library).values() if isinstance(value, ctypes._CFuncPtr)} == documented


def test_every_function_that_files_share_has_the_prefix():
    """The C compiler's own names for what the linker would see, if it weren't hidden."""
    shared = re.findall(r"^\w[\w *]*?\b(\w+)\(.*\);$", (FOLDER / "batch.h").read_text(), re.MULTILINE)

    assert shared
    assert [name for name in shared if not name.startswith("rs_")] == []
