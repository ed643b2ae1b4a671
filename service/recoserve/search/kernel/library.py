"""Loads the compiled libraries of the kernel, one for each instruction set. All C is called through a `KernelLibrary`.

`kernel.h` documents every function and structure that is declared here.
"""

import ctypes
import functools
import platform
from ctypes import POINTER, byref, c_bool, c_int32, c_int64, c_void_p, sizeof
from pathlib import Path

from recoserve.bundle import contract, leading_dimensions

FOLDER = Path(__file__).parent
CPUINFO = Path("/proc/cpuinfo")

# For each library, best first: the flags that /proc/cpuinfo must list. On any other processor the service searches by the ONNX
# graphs.
INSTRUCTION_SETS = {
    "avx512vnni": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx2", "fma", "bmi2"},
    "avx2": {"avx2", "fma", "bmi2"},
}

# How many int64 fields `rs_query` (k, excluded_count, excluded, mask) and `rs_counts` (hits, rescored) have: `Index` in index.py
# passes both as flat int64 arrays.
QUERY_FIELDS = 4
COUNTS_FIELDS = 2


class ConstantsStruct(ctypes.Structure):
    """`rs_constants` of kernel.h."""

    _fields_ = [(name, c_int32) for name in ("block", "quad", "max_dim", "alignment", "index_size", "query_size", "counts_size")]


class IndexStruct(ctypes.Structure):
    """`rs_index` of kernel.h: an index by the addresses of its arrays."""

    _fields_ = [
        *((name, c_void_p) for name in ("rows", "piece_items", "rotation", "step", "error", "norm")),
        *((name, c_void_p) for name in ("heads", "tails", "residual_norms")),
        ("item_count", c_int64),
        ("piece_count", c_int64),
        ("dim", c_int32),
        ("head_dim", c_int32),
    ]


class LayoutStruct(ctypes.Structure):
    """`rs_layout` of kernel.h: the size in bytes of each of the three arrays that `rs_fill_span` fills."""

    _fields_ = [(name, c_int64) for name in ("heads", "tails", "residual_norms")]


class KernelLibrary:
    """One compiled library, with the argument and result types of its functions declared; `name` is its instruction set.

    Raises OSError for a file that isn't a library, or that was compiled with other constants; AttributeError for a library without
    the kernel's functions.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        library = ctypes.CDLL(str(path))
        index, pool, address = POINTER(IndexStruct), c_void_p, c_void_p
        self.get_constants = _typed(library.rs_get_constants, None, POINTER(ConstantsStruct))
        self.add_energies = _typed(library.rs_add_energies, None, index, address, address)
        self.layout_bytes = _typed(library.rs_layout_bytes, None, index, POINTER(LayoutStruct))
        self.span_count = _typed(library.rs_span_count, c_int64, index)
        self.fill_span = _typed(library.rs_fill_span, None, index, address, c_int64, address, address, address)
        self.pool_open = _typed(library.rs_pool_open, pool, c_int32)
        self.pool_close = _typed(library.rs_pool_close, None, pool)
        self.search = _typed(library.rs_search, c_bool, index, pool, address, address, c_int64, address, address, address)
        constants = self._checked_constants(path)
        self.max_dim: int = constants.max_dim
        self.alignment: int = constants.alignment

    def _checked_constants(self, path: Path) -> ConstantsStruct:
        """What the library was compiled with. Raises OSError if a size in `expected` differs: it would read beyond an array."""
        constants = ConstantsStruct()
        self.get_constants(byref(constants))
        expected = {
            "block": contract.BLOCK,
            "quad": leading_dimensions.QUAD,
            "index_size": sizeof(IndexStruct),
            "query_size": sizeof(c_int64) * QUERY_FIELDS,
            "counts_size": sizeof(c_int64) * COUNTS_FIELDS,
        }
        for name, value in expected.items():
            if getattr(constants, name) != value:
                raise OSError(f"{path} was compiled with {name} {getattr(constants, name)}, not {value}: build it again")
        return constants


def _typed(function: "ctypes._NamedFuncPointer", result: object, *arguments: object) -> "ctypes._NamedFuncPointer":
    function.restype, function.argtypes = result, arguments  # type: ignore[assignment]
    return function


def libraries(folder: Path = FOLDER, cpuinfo: Path = CPUINFO) -> dict[str, Path]:
    """The paths of the libraries that were built and that this processor can run, by instruction set, the best first."""
    flags = _processor_flags(cpuinfo)
    runnable = (name for name, needed in INSTRUCTION_SETS.items() if needed <= flags)
    paths = {name: folder / f"kernel-{name}.so" for name in runnable}
    return {name: path for name, path in paths.items() if path.is_file()}


@functools.cache
def load_best(folder: Path = FOLDER, cpuinfo: Path = CPUINFO) -> KernelLibrary | None:
    """The best library for this processor; None where none was built or none can be used."""
    for name, path in libraries(folder, cpuinfo).items():
        try:
            return KernelLibrary(name, path)
        except (OSError, AttributeError):  # built for another system or version: the next one, or the graphs, give the same answers
            continue
    return None


def _processor_flags(cpuinfo: Path) -> set[str]:
    """All words of the file, the processor's flags among them; empty if the machine isn't x86-64 or the file can't be read."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return set()
    try:
        return set(cpuinfo.read_text().split())
    except OSError:
        return set()
