"""The kernel's libraries, and the only place that calls them: one for each instruction set, the processor's best is loaded."""

import ctypes
import functools
import platform
from ctypes import POINTER, c_bool, c_int32, c_int64, c_void_p
from pathlib import Path

FOLDER = Path(__file__).parent
CPUINFO = Path("/proc/cpuinfo")
MOST_DIM = 1024

# Library -> what /proc/cpuinfo must say of the processor; the best first. Others are served by the ONNX graphs.
INSTRUCTION_SETS = {
    "avx512vnni": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx2", "fma", "bmi2"},
    "avx2": {"avx2", "fma", "bmi2"},
}


class Table(ctypes.Structure):
    """`Table` of kernel.h: a catalogue, by the addresses of its arrays."""

    _fields_ = [
        *((name, c_void_p) for name in ("rows", "piece_items", "rotation", "step", "error", "norm")),
        *((name, c_void_p) for name in ("heads", "tails", "rests")),
        ("items", c_int64),
        ("piece_count", c_int64),
        ("dim", c_int32),
        ("head", c_int32),
    ]


class Library:
    """One compiled library, its functions typed; `name` is its instruction set."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        library = ctypes.CDLL(str(path))
        table, pool = POINTER(Table), c_void_p
        self.places_of = _function(library.places_of, c_int64, table)
        self.spans_of = _function(library.spans_of, c_int64, table)
        self.measure = _function(library.measure, None, table, c_void_p, c_void_p)
        self.fill = _function(library.fill, None, table, c_void_p, c_int64, c_void_p, c_void_p, c_void_p)
        self.pool_open = _function(library.pool_open, pool, c_int32)
        self.pool_close = _function(library.pool_close, None, pool)
        self.search = _function(library.search, c_bool, table, pool, c_void_p, c_void_p, c_int64, c_void_p, c_void_p, c_void_p)


def _function(function: "ctypes._NamedFuncPointer", result: object, *arguments: object) -> "ctypes._NamedFuncPointer":
    function.restype, function.argtypes = result, arguments  # type: ignore[assignment]
    return function


def libraries(folder: Path = FOLDER, cpuinfo: Path = CPUINFO) -> dict[str, Path]:
    """Those that were built and that this processor can run, the best first."""
    words = _words(cpuinfo)
    able = (name for name, needed in INSTRUCTION_SETS.items() if needed <= words)
    paths = {name: folder / f"kernel-{name}.so" for name in able}
    return {name: path for name, path in paths.items() if path.is_file()}


@functools.cache
def best(folder: Path = FOLDER, cpuinfo: Path = CPUINFO) -> Library | None:
    """The best library for this processor; None where none was built or none is what it should be."""
    for name, path in libraries(folder, cpuinfo).items():
        try:
            return Library(name, path)
        except (OSError, AttributeError):  # no library, or one without these functions
            continue
    return None


def _words(cpuinfo: Path) -> set[str]:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return set()
    try:
        return set(cpuinfo.read_text().split())
    except OSError:
        return set()
