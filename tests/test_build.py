"""The build: what a wheel, a source distribution and this environment hold of the kernel, with and without a C compiler."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import hatch_build
import pytest

from recoserve.search.kernel import library

ROOT = Path(__file__).parents[1]
LINUX = hatch_build.target_platform() == "linux_x86_64"
LIBRARIES = {f"service/recoserve/search/kernel/kernel-{name}.so" for name in hatch_build.INSTRUCTION_SETS}


def python(*arguments, **environment):
    """Python at the root, with these variables in place of those that the build reads."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CC", hatch_build.LEAVE_OUT)}
    line = [sys.executable, *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, env=kept | environment, capture_output=True, text=True, timeout=300)


def program(folder, name, line):
    """A shell script on a PATH of its own."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{line}\n")
    (folder / name).chmod(0o755)
    return [str(folder / name)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = python("-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    assert done.returncode == 0, done.stderr
    return next(folder.iterdir())


def test_what_this_processor_can_run_was_built_and_loads():
    words = set(library.CPUINFO.read_text().split()) if LINUX else set()
    able = [name for name, needed in library.INSTRUCTION_SETS.items() if LINUX and needed <= words]

    assert list(library.libraries()) == able
    for name, path in library.libraries().items():
        loaded = library.KernelLibrary(name, path)
        pool = loaded.pool_open(2)
        assert pool
        loaded.pool_close(pool)


def test_a_library_is_compiled_for_what_the_service_makes_sure_of():
    """Best first in both, and not one instruction set more than /proc/cpuinfo is asked about."""
    asked = {"avx512_vnni": "avx512vnni"}  # the compiler's own name for it
    needed = {name: {asked.get(word, word) for word in words} for name, words in library.INSTRUCTION_SETS.items()}

    assert {name: {flag.removeprefix("-m") for flag in flags} for name, flags in hatch_build.INSTRUCTION_SETS.items()} == needed
    assert list(hatch_build.INSTRUCTION_SETS) == list(library.INSTRUCTION_SETS)


def test_a_wheel_holds_the_libraries_and_is_for_one_platform_and_any_python(wheel):
    names = zipfile.ZipFile(wheel).namelist()

    assert wheel.name.endswith(f"-py3-none-{hatch_build.target_platform()}.whl" if LINUX else "-py3-none-any.whl")
    assert {name for name in names if name.endswith(".so")} == (LIBRARIES if LINUX else set())
    assert "service/recoserve/search/kernel/library.py" in names
    assert not [name for name in names if name.endswith((".c", ".h")) or "hatch_build" in name]


def test_a_wheel_from_a_source_distribution_is_the_same(wheel, tmp_path):
    done = python("-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path)
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(tmp_path.iterdir())) as archive:
        assert not [name for name in archive.getnames() if name.endswith(".so")]
    subprocess.run(["tar", "-xf", next(tmp_path.iterdir()), "-C", tmp_path], check=True)
    (source,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=source, capture_output=True
    )

    assert done.returncode == 0
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert [name for name in names if name.startswith("service/recoserve/search/kernel/")] == [
        name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("service/recoserve/search/kernel/")
    ]


def test_left_out_a_wheel_is_for_any_platform(tmp_path):
    """Whatever libraries lie in the checkout, and whatever the compiler."""
    done = python("-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, RECOSERVE_NO_KERNEL="1", CC="/no/compiler")

    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.iterdir()
    assert made.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(made).namelist() if name.endswith(".so")]


@pytest.mark.skipif(not LINUX, reason="no kernel is built on this platform, so none can fail")
def test_a_kernel_that_does_not_compile_ends_the_build_with_what_to_do(tmp_path):
    refusing = program(tmp_path / "bin", "refusing", "echo no such instruction >&2; exit 1")
    done = python("-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "made", CC=refusing[0])

    assert done.returncode != 0
    assert "no such instruction" in done.stderr
    assert "RECOSERVE_NO_KERNEL=1" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "made").iterdir())


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux_x86_64", {}, True),
        ("linux_x86_64", {"RECOSERVE_NO_KERNEL": ""}, True),
        ("linux_x86_64", {"RECOSERVE_NO_KERNEL": "0"}, True),
        ("linux_x86_64", {"RECOSERVE_NO_KERNEL": "1"}, False),
        ("linux_aarch64", {}, False),
        ("linux_i686", {}, False),
        ("macosx_14_0_x86_64", {}, False),
        ("win_amd64", {}, False),
    ],
)
def test_which_wheels_have_a_kernel(platform, environment, expected):
    assert hatch_build.wanted(environment, platform) is expected


def test_a_machine_without_a_compiler_asks_for_one_from_the_registry(tmp_path):
    """And only then, and only for a build that compiles."""
    ask = "import hatchling.build as build; print(build.get_requires_for_build_wheel())"
    none, one = tmp_path / "none", tmp_path / "one"
    none.mkdir()
    program(one, "gcc", "exit 0")

    assert python("-c", ask, PATH=str(none)).stdout.strip() == str([hatch_build.ZIGLANG] if LINUX else [])
    assert python("-c", ask, PATH=str(one)).stdout.strip() == "[]"
    assert python("-c", ask, PATH=str(none), RECOSERVE_NO_KERNEL="1").stdout.strip() == "[]"
    assert python("-c", ask, PATH=str(none), CC="mine").stdout.strip() == "[]"


def test_the_first_compiler_that_can_is_taken(tmp_path):
    folder = tmp_path / "bin"
    program(folder, "cc", "echo nothing is installed >&2; exit 1")
    program(folder, "gcc", 'case "$*" in *vnni*) exit 1; esac')  # older than the instruction set
    clang = program(folder, "clang", "exit 0")

    assert hatch_build.compiler({"PATH": str(folder)}) == clang
    assert hatch_build.compiler({"PATH": str(folder), "CC": "ccache gcc -m64"}) == ["ccache", "gcc", "-m64"]
    assert hatch_build.compiler({"PATH": ""}) is None


@pytest.mark.parametrize("named", ["zig cc", "/opt/zig/zig cc", "python3 -m ziglang cc"])
def test_zig_compiles_for_any_processor(named):
    assert hatch_build.compiler({"CC": named}) == [*named.split(), "-mcpu=baseline"]


def test_an_install_in_place_leaves_no_older_library(tmp_path):
    """Whoever has the old file open keeps what was in it."""
    made, folder = tmp_path / "made", tmp_path / "kernel"
    made.mkdir()
    folder.mkdir()
    (made / "kernel-new.so").write_bytes(b"new")
    for name in ("kernel-new.so", "kernel-stale.so", "scan.c"):
        (folder / name).write_bytes(b"old")
    with (folder / "kernel-new.so").open("rb") as loaded:
        hatch_build.put([made / "kernel-new.so"], folder)

        assert loaded.read() == b"old"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"kernel-new.so": b"new", "scan.c": b"old"}

    hatch_build.put([], folder)
    assert [path.name for path in folder.iterdir()] == ["scan.c"]
