"""The build: what a wheel, a source distribution and this environment contain, with and without a C compiler."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import hatch_build
import pytest
from packaging.tags import platform_tags

from recoserve.search.kernel import library

ROOT = Path(__file__).parents[1]
LINUX = hatch_build.target_platform() == "linux_x86_64"
LIBRARIES = {f"recoserve/search/kernel/kernel-{name}.so" for name in hatch_build.INSTRUCTION_SETS}


def python(*arguments, cwd=ROOT, **environment):
    """Run Python, with these variables in place of those that the build reads."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("CC", hatch_build.NO_KERNEL)}
    line = [sys.executable, *map(str, arguments)]
    return subprocess.run(line, cwd=cwd, env=inherited | environment, capture_output=True, text=True, timeout=300)


def build(target, folder, cwd=ROOT, **environment):
    """Build a `wheel` or an `sdist` into a folder, and return its path."""
    process = python("-m", "hatchling", "build", "-t", target, "-d", folder, cwd=cwd, **environment)
    assert process.returncode == 0, process.stderr
    (path,) = folder.iterdir()
    return path


def names_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def shell_script(folder, name, line):
    """A program in a folder that can stand on PATH alone; returns its command."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{line}\n")
    (folder / name).chmod(0o755)
    return [str(folder / name)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build("wheel", tmp_path_factory.mktemp("wheel"))


def test_every_library_that_this_processor_can_run_was_built_and_loads():
    flags = set(library.CPUINFO.read_text().split()) if LINUX else set()
    runnable = [name for name, needed in library.INSTRUCTION_SETS.items() if LINUX and needed <= flags]

    assert list(library.libraries()) == runnable
    for name, path in library.libraries().items():
        loaded = library.KernelLibrary(name, path)
        pool = loaded.pool_open(2)
        assert pool
        loaded.pool_close(pool)


def test_a_library_is_compiled_for_the_flags_that_the_service_checks():
    """Best first in both, and not one instruction set more than is looked for in /proc/cpuinfo."""
    compiler_names = {"avx512_vnni": "avx512vnni"}
    needed = {name: {compiler_names.get(flag, flag) for flag in flags} for name, flags in library.INSTRUCTION_SETS.items()}

    assert {name: {flag.removeprefix("-m") for flag in flags} for name, flags in hatch_build.INSTRUCTION_SETS.items()} == needed
    assert list(hatch_build.INSTRUCTION_SETS) == list(library.INSTRUCTION_SETS)


def test_a_wheel_has_a_tag_that_package_indexes_accept_and_this_machine_supports(wheel):
    """For one platform and any Python; linux_x86_64 is for no index."""
    tag = wheel.name.removesuffix(".whl").partition("-py3-none-")[2]

    assert tag.startswith(("manylinux_", "musllinux_")) if LINUX else tag == "any"
    assert tag == "any" or tag in platform_tags()


def test_a_wheel_contains_the_two_packages_that_users_install_typed_and_compiled(wheel):
    """No benchmarks, no tests, no C sources, and nothing of the build."""
    names = names_in(wheel)
    packages = {name.partition("/")[0] for name in names if ".dist-info/" not in name}

    assert packages == {"recoserve", "recoserve_export"}
    assert {f"{package}/py.typed" for package in packages} <= set(names)
    assert {name for name in names if name.endswith(".so")} == (LIBRARIES if LINUX else set())
    assert "recoserve/search/kernel/library.py" in names
    assert not [name for name in names if name.endswith((".c", ".h")) or "hatch_build" in name]


def test_every_package_of_the_checkout_is_typed():
    for package in ("service/recoserve", "model_export/recoserve_export", "benchmarks/recoserve_bench"):
        assert (ROOT / package / "py.typed").is_file()


def test_an_installed_wheel_serves_without_the_checkout(wheel, tmp_path):
    """In an environment of its own, with this one's packages but not the checkout, which a .pth file adds here."""
    venv.create(tmp_path / "venv")
    interpreter = tmp_path / "venv/bin/python"
    install = python("-m", "pip", "--python", interpreter, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=tmp_path)
    assert install.returncode == 0, install.stderr
    (site_packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def run(*arguments):
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run([interpreter, *arguments], cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=120)

    script = (
        "import recoserve, recoserve_export; from recoserve.search.kernel.library import load_best; "
        "print(recoserve.__file__, recoserve_export.__file__, getattr(load_best(), 'name', None), sep='\\n')"
    )
    imported = run("-c", script)
    assert imported.returncode == 0, imported.stderr
    *files, kernel = imported.stdout.splitlines()
    assert all(Path(file).is_relative_to(site_packages) for file in files)
    assert kernel == next(iter(library.libraries()), "None")

    usage = run("-m", "recoserve", "--help")
    assert (usage.returncode, usage.stderr) == (0, "")
    assert "serve" in usage.stdout


def test_a_wheel_from_a_source_distribution_is_the_same(wheel, tmp_path):
    archive_path = build("sdist", tmp_path / "sdist")
    with tarfile.open(archive_path) as archive:
        assert not [name for name in archive.getnames() if name.endswith(".so")]
    subprocess.run(["tar", "-xf", archive_path, "-C", tmp_path], check=True)
    (source,) = tmp_path.glob("recoserve-*")

    rebuilt = build("wheel", tmp_path / "wheel", cwd=source)
    assert rebuilt.name == wheel.name
    assert names_in(rebuilt) == names_in(wheel)


def test_a_wheel_without_the_kernel_is_for_any_platform(tmp_path):
    """Whatever libraries lie in the checkout, and whatever the compiler."""
    pure = build("wheel", tmp_path, RECOSERVE_NO_KERNEL="1", CC="/no/compiler")

    assert pure.name.endswith("-py3-none-any.whl")
    assert not [name for name in names_in(pure) if name.endswith(".so")]


@pytest.mark.skipif(not LINUX, reason="no kernel is built on this platform, so none can fail")
def test_a_kernel_that_does_not_compile_ends_the_build_with_what_to_do(tmp_path):
    refusing = shell_script(tmp_path / "bin", "refusing", "echo no such instruction >&2; exit 1")
    process = python("-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "built", CC=refusing[0])

    assert process.returncode != 0
    assert "no such instruction" in process.stderr
    assert "RECOSERVE_NO_KERNEL=1" in process.stderr
    assert "Traceback" not in process.stderr
    assert not list((tmp_path / "built").iterdir())


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
def test_a_kernel_is_built_on_linux_on_x86_64_unless_it_is_declined(platform, environment, expected):
    assert hatch_build.builds_kernel(environment, platform) is expected


@pytest.mark.parametrize(
    ("symbols", "supported", "expected"),
    [
        ([b"GLIBC_2.2.5", b""], ["manylinux_2_40_x86_64", "linux_x86_64"], "manylinux_2_17_x86_64"),
        ([b"GLIBC_2.17", b"GLIBC_2.4"], ["manylinux_2_40_x86_64", "linux_x86_64"], "manylinux_2_17_x86_64"),
        ([b"GLIBC_2.2.5\0GLIBC_2.34\0", b"GLIBC_2.9"], ["manylinux_2_40_x86_64", "linux_x86_64"], "manylinux_2_34_x86_64"),
        ([b"GLIBC_2.17", b"GLIBC_3.1"], ["manylinux_3_5_x86_64", "linux_x86_64"], "manylinux_3_1_x86_64"),
        ([b"", b""], ["musllinux_1_2_x86_64", "musllinux_1_1_x86_64", "linux_x86_64"], "musllinux_1_2_x86_64"),
    ],
)
def test_a_wheel_is_for_the_oldest_c_library_that_has_all_its_symbols(tmp_path, symbols, supported, expected):
    """Of any of its libraries, versions compared as numbers; musl's symbols have none, so there it is the version of the build."""
    for number, content in enumerate(symbols):
        (tmp_path / f"{number}.so").write_bytes(b"\0" + content + b"\0")

    assert expected == hatch_build.platform_tag(tmp_path.iterdir(), supported)


def test_a_machine_without_a_compiler_requires_one_from_the_registry(tmp_path):
    """And only then, and only for a build that compiles."""
    script = "import hatchling.build as build; print(build.get_requires_for_build_wheel())"
    without, with_gcc = tmp_path / "without", tmp_path / "with_gcc"
    without.mkdir()
    shell_script(with_gcc, "gcc", "exit 0")

    assert python("-c", script, PATH=str(without)).stdout.strip() == str([hatch_build.ZIGLANG] if LINUX else [])
    assert python("-c", script, PATH=str(with_gcc)).stdout.strip() == "[]"
    assert python("-c", script, PATH=str(without), RECOSERVE_NO_KERNEL="1").stdout.strip() == "[]"
    assert python("-c", script, PATH=str(without), CC="mine").stdout.strip() == "[]"


def test_the_first_compiler_that_can_compile_the_kernel_is_used(tmp_path):
    folder = tmp_path / "bin"
    shell_script(folder, "cc", "echo nothing is installed >&2; exit 1")
    shell_script(folder, "gcc", 'case "$*" in *vnni*) exit 1; esac')  # older than the instruction set
    clang = shell_script(folder, "clang", "exit 0")

    assert hatch_build.find_compiler({"PATH": str(folder)}) == clang
    assert hatch_build.find_compiler({"PATH": str(folder), "CC": "ccache gcc -m64"}) == ["ccache", "gcc", "-m64"]
    assert hatch_build.find_compiler({"PATH": ""}) is None


@pytest.mark.parametrize("command", ["zig cc", "/opt/zig/zig cc", "python3 -m ziglang cc"])
def test_zig_compiles_for_any_processor(command):
    assert hatch_build.find_compiler({"CC": command}) == [*command.split(), "-mcpu=baseline"]


def test_an_install_in_place_leaves_no_older_library(tmp_path):
    """A process that has the old file open keeps what was in it."""
    built, folder = tmp_path / "built", tmp_path / "kernel"
    built.mkdir()
    folder.mkdir()
    (built / "kernel-new.so").write_bytes(b"new")
    for name in ("kernel-new.so", "kernel-stale.so", "scan.c"):
        (folder / name).write_bytes(b"old")
    with (folder / "kernel-new.so").open("rb") as loaded:
        hatch_build.install_in_place([built / "kernel-new.so"], folder)

        assert loaded.read() == b"old"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"kernel-new.so": b"new", "scan.c": b"old"}

    hatch_build.install_in_place([], folder)
    assert [path.name for path in folder.iterdir()] == ["scan.c"]
