"""The wheel's build: compiles the kernel's C files once for each x86-64 instruction set that they are written for.

Anywhere but on Linux on x86-64, and with `RECOSERVE_NO_KERNEL=1`, there is none: retrieval is by the ONNX graphs then, as exact.
"""

import os
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

FOLDER = "service/recoserve/search/kernel"  # in the checkout
PACKAGE = "recoserve/search/kernel"  # in the wheel
LEAVE_OUT = "RECOSERVE_NO_KERNEL"
COMPILERS = ("cc", "gcc", "clang")
ZIGLANG = "ziglang>=0.17"  # a C compiler from the package registry, for machines that have none
ZIG_CPU = "-mcpu=baseline"  # zig compiles for the processor that it runs on, unless it is told not to

# Without contraction a product has the same bits from every compiler. With -Bsymbolic a call of `search` or `fill` stays inside the
# library, whatever else of that name is loaded.
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden", "-Wl,-Bsymbolic", "-Wall", "-Wextra")
LIBRARIES = ("-lm", "-lpthread")
INSTRUCTION_SETS = {
    "avx512vnni": ("-mavx2", "-mfma", "-mbmi2", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"),
    "avx2": ("-mavx2", "-mfma", "-mbmi2"),
}
PROBE = "#include <immintrin.h>\n#include <math.h>\n#include <pthread.h>\n#include <stdatomic.h>\natomic_int probe;\n"


class KernelFailed(Exception):
    """The compiler refused; the message is what it said."""


def target_platform() -> str:
    """The platform tag of a wheel that is made here for here."""
    return next(tag for tag in platform_tags() if not tag.startswith(("manylinux", "musllinux")))


def wanted(environment: Mapping[str, str], platform: str) -> bool:
    """Whether a wheel for a platform, such as linux_x86_64, has the kernel."""
    return platform == "linux_x86_64" and environment.get(LEAVE_OUT, "") in ("", "0")


def compiler(environment: Mapping[str, str]) -> list[str] | None:
    """`$CC`, or the first on PATH that can; None where there is none."""
    if named := shlex.split(environment.get("CC", "")):
        return [*named, ZIG_CPU] if Path(named[0]).name == "zig" or "ziglang" in named else named
    found = (shutil.which(name, path=environment.get("PATH", "")) for name in COMPILERS)
    return next(([path] for path in found if path and able(path, environment)), None)


def able(path: str, environment: Mapping[str, str]) -> bool:
    """Whether a compiler is more than a name: one may be too old, or lack the system's headers."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(PROBE)
        try:
            for flags in INSTRUCTION_SETS.values():
                compile_library([path], flags, [source], Path(folder, "probe.so"), environment)
        except KernelFailed:
            return False
    return True


def compile_kernel(sources: Path, into: Path, environment: Mapping[str, str]) -> list[Path]:
    """Compile a folder's C files to `into`/kernel-NAME.so for each instruction set. Raises KernelFailed."""
    command = compiler(environment) or [sys.executable, "-m", "ziglang", "cc", ZIG_CPU]
    with tempfile.TemporaryDirectory() as cache:
        environment = {**environment, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
        made = []
        for name, flags in INSTRUCTION_SETS.items():
            made.append(into / f"kernel-{name}.so")
            compile_library(command, flags, sorted(sources.glob("*.c")), made[-1], environment)
    return made


def compile_library(
    command: Iterable[str], flags: Iterable[str], sources: Iterable[Path], to: Path, environment: Mapping[str, str]
) -> None:
    """One run of a compiler. Raises KernelFailed."""
    line = [*command, *FLAGS, *flags, *map(str, sources), "-o", str(to), *LIBRARIES]
    try:
        done = subprocess.run(line, capture_output=True, text=True, errors="replace", env=dict(environment))  # noqa: S603  # a compiler
    except OSError as error:
        raise KernelFailed(str(error)) from None
    if done.returncode:
        raise KernelFailed(f"{shlex.join(line)}\n{done.stdout}{done.stderr}".strip())


def put(libraries: Iterable[Path], folder: Path) -> None:
    """Have a folder hold these libraries and no other; a service that has an older one loaded keeps that."""
    names = set()
    with tempfile.TemporaryDirectory(dir=folder, prefix=".kernel-") as beside:
        for library in libraries:
            names.add(library.name)
            Path(shutil.copy(library, beside)).replace(folder / library.name)
    for stale in folder.glob("kernel-*.so"):
        if stale.name not in names:
            stale.unlink()


class KernelHook(BuildHookInterface[BuilderConfig]):
    """Libraries in the wheel, or in place for an editable install; a wheel with them is for one platform, and for any Python."""

    def dependencies(self) -> list[str]:
        return [ZIGLANG] if wanted(os.environ, target_platform()) and not compiler(os.environ) else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._room = tempfile.TemporaryDirectory(prefix="recoserve-kernel-")  # until the wheel is written
        sources, platform, libraries = Path(self.root, FOLDER), target_platform(), list[Path]()
        if wanted(os.environ, platform):
            try:
                libraries = compile_kernel(sources, Path(self._room.name), os.environ)
            except KernelFailed as error:
                self.app.abort(
                    f"{error}\n\nThe kernel does not compile: name another C compiler with CC, "
                    f"or install without it, as exact and slower, with {LEAVE_OUT}=1."
                )
        if version == "editable":
            put(libraries, sources)
        elif libraries:
            build_data["force_include"].update({str(library): f"{PACKAGE}/{library.name}" for library in libraries})
            build_data.update(pure_python=False, tag=f"py3-none-{platform}")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        self._room.cleanup()
