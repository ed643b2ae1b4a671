"""The wheel's build: compiles the kernel's C files once for each x86-64 instruction set that they are written for.

On any system but Linux on x86-64, and with `RECOSERVE_NO_KERNEL=1`, no kernel is built: the service then searches by the ONNX
graphs, as exactly and more slowly.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

SOURCES = "service/recoserve/search/kernel"  # in the checkout
PACKAGE = "recoserve/search/kernel"  # in the wheel
NO_KERNEL = "RECOSERVE_NO_KERNEL"
COMPILERS = ("cc", "gcc", "clang")
ZIGLANG = "ziglang>=0.17"  # a C compiler from the package registry, for machines that have none
ZIG_CPU = "-mcpu=baseline"  # zig compiles for the processor that it runs on, unless it is told not to

# Without contraction a product has the same bits from every compiler. Only what kernel.h marks is exported, and with -Bsymbolic the
# library's own calls of it stay inside, whatever else of that name is loaded.
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden", "-Wl,-Bsymbolic", "-Wall", "-Wextra")
LINKED = ("-lm", "-lpthread")
INSTRUCTION_SETS = {
    "avx512vnni": ("-mavx2", "-mfma", "-mbmi2", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"),
    "avx2": ("-mavx2", "-mfma", "-mbmi2"),
}
PROBE = "#include <immintrin.h>\n#include <math.h>\n#include <pthread.h>\n#include <stdatomic.h>\natomic_int probe;\n"

OLDEST_GLIBC = (2, 17)  # the first that manylinux tags name for x86-64 and that installers still ask for
GLIBC_VERSION = re.compile(rb"GLIBC_(\d+)\.(\d+)")


class KernelFailed(Exception):
    """The compiler refused; the message is what it printed."""


def target_platform() -> str:
    """The platform of a wheel that is built here for here, such as linux_x86_64."""
    return next(tag for tag in platform_tags() if not tag.startswith(("manylinux", "musllinux")))


def builds_kernel(environment: Mapping[str, str], platform: str) -> bool:
    """Whether a wheel for this platform has the kernel."""
    return platform == "linux_x86_64" and environment.get(NO_KERNEL, "") in ("", "0")


def platform_tag(libraries: Iterable[Path], supported: Iterable[str]) -> str:
    """The platform tag of a wheel with these libraries, which a package index accepts, unlike linux_x86_64.

    `supported` are the tags of this machine, the best first. With musl the tag names its version; with glibc the version of the
    newest symbol that the libraries need.
    """
    if musl := next((tag for tag in supported if tag.startswith("musllinux")), None):
        return musl
    needed = [tuple(map(int, version)) for library in libraries for version in GLIBC_VERSION.findall(library.read_bytes())]
    major, minor = max([OLDEST_GLIBC, *needed])
    return f"manylinux_{major}_{minor}_x86_64"


def find_compiler(environment: Mapping[str, str]) -> list[str] | None:
    """The command of `$CC`, or of the first compiler on PATH that can compile the kernel; None where there is none."""
    if command := shlex.split(environment.get("CC", "")):
        return [*command, ZIG_CPU] if Path(command[0]).name == "zig" or "ziglang" in command else command
    paths = (shutil.which(name, path=environment.get("PATH", "")) for name in COMPILERS)
    return next(([path] for path in paths if path and can_compile(path, environment)), None)


def can_compile(compiler: str, environment: Mapping[str, str]) -> bool:
    """Whether a compiler knows the instruction sets and finds the headers: it may be too old, or come without the system's."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(PROBE)
        try:
            for flags in INSTRUCTION_SETS.values():
                compile_library([compiler], flags, [source], Path(folder, "probe.so"), environment)
        except KernelFailed:
            return False
    return True


def compile_kernel(sources: Path, target: Path, environment: Mapping[str, str]) -> list[Path]:
    """Compile a folder's C files to `target`/kernel-NAME.so for each instruction set, and return the paths. Raises KernelFailed."""
    command = find_compiler(environment) or [sys.executable, "-m", "ziglang", "cc", ZIG_CPU]
    libraries = []
    with tempfile.TemporaryDirectory() as cache:
        environment = {**environment, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
        for name, flags in INSTRUCTION_SETS.items():
            libraries.append(target / f"kernel-{name}.so")
            compile_library(command, flags, sorted(sources.glob("*.c")), libraries[-1], environment)
    return libraries


def compile_library(
    command: Iterable[str], flags: Iterable[str], sources: Iterable[Path], target: Path, environment: Mapping[str, str]
) -> None:
    """Run a compiler once. Raises KernelFailed."""
    line = [*command, *FLAGS, *flags, *map(str, sources), "-o", str(target), *LINKED]
    try:
        process = subprocess.run(line, capture_output=True, text=True, errors="replace", env=dict(environment))  # noqa: S603  # a compiler
    except OSError as error:
        raise KernelFailed(str(error)) from None
    if process.returncode:
        raise KernelFailed(f"{shlex.join(line)}\n{process.stdout}{process.stderr}".strip())


def install_in_place(libraries: Iterable[Path], folder: Path) -> None:
    """Replace a folder's libraries by these. A service that has an old one loaded keeps it: no file is overwritten."""
    names = set()
    with tempfile.TemporaryDirectory(dir=folder, prefix=".kernel-") as neighbour:  # the same file system: replacing is atomic
        for library in libraries:
            names.add(library.name)
            Path(shutil.copy(library, neighbour)).replace(folder / library.name)
    for stale in folder.glob("kernel-*.so"):
        if stale.name not in names:
            stale.unlink()


class KernelHook(BuildHookInterface[BuilderConfig]):
    """Puts the libraries into the wheel, or in place for an editable install.

    A wheel with them is for one platform and for any Python, since they are called through ctypes.
    """

    def dependencies(self) -> list[str]:
        return [ZIGLANG] if builds_kernel(os.environ, target_platform()) and not find_compiler(os.environ) else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._build_folder = tempfile.TemporaryDirectory(prefix="recoserve-kernel-")  # until the wheel is written
        sources, libraries = Path(self.root, SOURCES), list[Path]()
        if builds_kernel(os.environ, target_platform()):
            try:
                libraries = compile_kernel(sources, Path(self._build_folder.name), os.environ)
            except KernelFailed as error:
                self.app.abort(
                    f"{error}\n\nThe kernel does not compile: name another C compiler with CC, "
                    f"or install without it, as exact and slower, with {NO_KERNEL}=1."
                )
        if version == "editable":
            install_in_place(libraries, sources)
        elif libraries:
            build_data["force_include"].update({str(library): f"{PACKAGE}/{library.name}" for library in libraries})
            build_data.update(pure_python=False, tag=f"py3-none-{platform_tag(libraries, platform_tags())}")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        self._build_folder.cleanup()
