"""Checks that a folder holds exactly the files that its manifest lists, unchanged, and that its graphs are safe to load.

The checks run in stages, each only if the earlier ones found nothing. So a file is parsed only after its digest was compared: no
parser sees bytes that were damaged, or that the exporter didn't write.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recoserve.bundle import contract, files, graph_file
from recoserve.bundle.manifest import Manifest
from recoserve.errors import BundleInvalid

MAX_GRAPH_BYTES = 2 << 30  # no protocol buffer can be larger
SCAN_ELEMENTS = 1 << 22  # 16 MiB of float32 at a time, while a table is searched for NaN


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check a bundle's files against its manifest; raises BundleInvalid with all problems of the first stage that found any."""
    for stage in (_file_set_problems, _digest_problems, _graph_problems):
        problems = list(stage(folder, manifest))
        if problems:
            raise BundleInvalid(problems)


def _file_set_problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    """A problem for each file that is missing, not in the manifest, of another size, or not a plain file."""
    expected = manifest.sizes
    for path in sorted(folder.iterdir()):
        if path.name == contract.MANIFEST:
            continue
        if path.name not in expected:
            yield f"{path.name}: not in the manifest; remove it, since a bundle holds only the files that the manifest lists"
        elif path.is_symlink() or not path.is_file():
            # The bytes behind a link may be right today; they can change without the bundle's folder being written to.
            yield f"{path.name}: must be a plain file, not a link or a folder"
    for name, size in expected.items():
        path = folder / name
        if not path.is_symlink() and not path.exists():
            yield f"{name}: missing"
        elif path.is_file() and path.stat().st_size != size:
            yield f"{name}: {path.stat().st_size} bytes, but the manifest says {size}"
    for name in sorted(_required_files(manifest) - set(expected)):
        yield f"{name}: needed for what the manifest describes, but not in its list of files"


def _required_files(manifest: Manifest) -> set[str]:
    """The files without which a bundle of this manifest can't be served."""
    required = set(manifest.graphs.values()) | {contract.GOLDEN}
    required |= {file for side, kind in manifest.ids.items() if (file := contract.id_file(side, kind))}
    if manifest.interactions:
        required |= {contract.INTERACTION_OFFSETS, contract.INTERACTION_ITEMS}
    return required | ({contract.COLUMN_DATA} if contract.COLUMNS in manifest.sizes else set())


def _digest_problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    for entry in manifest.files:
        if files.sha256(folder / entry.path) != entry.sha256:
            yield f"{entry.path}: its SHA-256 is not the manifest's; the file was changed or damaged"


def _graph_problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    tensor_check = _TensorCheck(folder, manifest)
    for name in manifest.graphs.values():
        try:
            graph = graph_file.parse(files.read_bytes(folder / name, MAX_GRAPH_BYTES))
        except ValueError:
            yield f"{name}: not an ONNX file, or cut off"
            continue
        problems = list(graph_file.problems(graph, manifest.sizes))
        yield from (f"{name}: {problem}" for problem in problems)
        for tensor in graph.tensors:
            # If the graph has problems, its offsets can't be trusted, so external bytes aren't read.
            problem = tensor_check.problem(tensor, read_external=not problems)
            if problem:
                yield f"{name}: {problem}"


class _TensorCheck:
    """Checks the tensors of all graphs of one bundle: each shared table has to be the same bytes in every graph.

    The golden sample runs only some of the graphs; because the tables are shared, it tests those of the other graphs too.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self._shapes = _table_shapes(manifest)
        self._row_counts = dict(zip(contract.ROW_COUNTS, (manifest.users, manifest.items), strict=True))
        self._table_ranges: dict[str, tuple[str, int, int]] = {}
        self._scanned: set[tuple[str, int, int]] = set()

    def problem(self, tensor: graph_file.Tensor, read_external: bool) -> str | None:
        """What is wrong with one tensor; None where nothing is."""
        name = tensor.name
        if tensor.dims != self._shapes.get(name, tensor.dims):
            return f"{name} has shape {tensor.dims}, but by the manifest it must be {self._shapes[name]}"
        if name in self._row_counts and bytes(tensor.raw) != np.int64(self._row_counts[name]).tobytes():
            return f"{name} must be {self._row_counts[name]}, as the manifest says"
        if read_external and tensor.external and tensor.data_type == graph_file.FLOAT:
            return self._external_problem(tensor)
        return None

    def _external_problem(self, tensor: graph_file.Tensor) -> str | None:
        byte_range = tensor.byte_range
        if tensor.name in self._shapes and self._table_ranges.setdefault(tensor.name, byte_range) != byte_range:
            return f"{tensor.name} lies at other bytes than in another graph"
        if byte_range in self._scanned:
            return None
        self._scanned.add(byte_range)
        return None if _is_finite(self._folder, *byte_range) else f"tensor {tensor.name!r} holds NaN or infinity"


def _table_shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    if manifest.dim is None:
        return {}
    return {
        contract.USER_TABLE: (manifest.users, manifest.dim),
        contract.ITEM_TABLE: (manifest.items, manifest.dim),
        contract.ITEM_BLOCKS: (-(-manifest.items // contract.BLOCK), contract.BLOCK, manifest.dim),
    }


def _is_finite(folder: Path, name: str, offset: int, size: int) -> bool:
    values = np.memmap(folder / name, np.float32, mode="r", offset=offset, shape=(size // 4,))
    return all(np.isfinite(values[start : start + SCAN_ELEMENTS]).all() for start in range(0, len(values), SCAN_ELEMENTS))
