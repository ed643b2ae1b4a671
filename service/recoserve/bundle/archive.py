"""The only code that opens a bundle's files: write, verify, read.

A bundle is written in a hidden folder beside its place, its manifest last, and then renamed: a half-written one is
never where a whole one is looked for, and would have no manifest if it were. Reading checks in this order: the
manifest, the set of files, sizes and digests, then what is in them. Nothing is parsed before its digest is right.
"""

import hashlib
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle import column_files, contract, graph_file, manifest
from recoserve.bundle.columns import Columns
from recoserve.bundle.golden import Golden
from recoserve.bundle.int8_index import Int8Index
from recoserve.bundle.interactions import Interactions
from recoserve.bundle.item_metadata import ItemMetadata, Lines
from recoserve.bundle.manifest import FileEntry, Manifest
from recoserve.bundle.vocabulary import IntegerIds, RowNumbers, StringIds, Vocabulary
from recoserve.errors import BundleInvalid, ExportRefused
from recoserve.fsync import sync

SCAN_ELEMENTS = 1 << 22  # 16 MiB of float32 at a time when tables are searched for NaN
MANIFEST_BYTES = 64 << 20
INDEX_BYTES = 64 << 20
GRAPH_BYTES = 2 << 30  # no protocol buffer can be larger


class Draft:
    """A bundle being written. Leave the block without `publish` and nothing of it remains."""

    def __init__(self, target: Path) -> None:
        self.target = Path(os.path.abspath(target))
        if self.target.exists() and not (self.target.is_dir() and not any(self.target.iterdir())):
            raise ExportRefused(f"{target} already exists; remove it or choose another folder (a new version is NAME/2)")
        self.folder = self.target.parent / f".{self.target.name}.partial-{secrets.token_hex(4)}"

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True)
        except OSError as error:
            raise ExportRefused(f"can't write to {self.target.parent}: {error.strerror}") from None
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_array(self, name: str, array: NDArray[Any]) -> None:
        np.save(self.folder / name, array, allow_pickle=False)

    def add_arrays(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        with open(self.folder / name, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub takes no mapping of arrays

    def add_lines(self, name: str, lines: Iterable[bytes]) -> None:
        with open(self.folder / name, "wb") as file:
            file.writelines(lines)

    def add_columns(self) -> None:
        """The metadata that was added, once more by column: what is read back is what will be served."""
        stored = _lines(self.folder, contract.ITEM_METADATA)
        columns = Columns.of((stored[row] for row in range(len(stored))), len(stored))
        self.add_lines(contract.COLUMNS, [column_files.index(columns)])
        self.add_lines(contract.COLUMN_DATA, column_files.data(columns))

    def publish(self, **members: Any) -> Manifest:
        """Seal with a manifest of `members` and the digests of every file, and move into place."""
        entries = tuple(_entry(path) for path in sorted(self.folder.iterdir()))
        sealed = Manifest(files=entries, **members)
        body = manifest.dump(sealed)
        manifest.parse(body)
        _write_synced(self.folder / contract.MANIFEST, body)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.folder.rename(self.target)
        sync(self.target.parent)
        return sealed


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every file has been checked against its manifest."""

    folder: Path
    manifest: Manifest
    users: Vocabulary
    items: Vocabulary
    golden: Golden
    item_metadata: ItemMetadata | None
    interactions: Interactions | None
    columns: Columns | None = None

    def graph(self, role: str) -> Path:
        """The file of a graph, by its role in the manifest."""
        return self.folder / self.manifest.graphs[role]


def read_manifest(folder: Path) -> Manifest:
    """The manifest alone, parsed; raises BundleInvalid."""
    path = folder / contract.MANIFEST
    if not path.is_file() or path.is_symlink():
        raise BundleInvalid([f"{folder}: no {contract.MANIFEST} in it, so this is no bundle (or one half-written)"])
    if path.stat().st_size > MANIFEST_BYTES:
        raise BundleInvalid([f"{contract.MANIFEST}: larger than {MANIFEST_BYTES >> 20} MiB"])
    return manifest.parse(path.read_bytes())


def open_bundle(folder: Path) -> Bundle:
    """Check a bundle from its manifest to its last tensor and open it; arrays come as memory maps.

    Raises BundleInvalid with every problem that the first failing stage found.
    """
    try:
        return _open_checked(folder, read_manifest(folder))
    except OSError as error:
        raise BundleInvalid([f"{error.filename or folder}: {error.strerror}"]) from None


def tables(bundle: Bundle) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """The user and the item vectors, float32 [U, d] and [N, d], as memory maps; None where the score is no dot product."""
    if bundle.manifest.dim is None:
        return None
    wanted = (contract.USER_TABLE, contract.ITEM_TABLE)
    graph = graph_file.read(_small(bundle.graph(contract.SCORE), GRAPH_BYTES))
    outside = [tensor for tensor in graph.tensors if tensor.external and tensor.data_type == graph_file.FLOAT]
    found = {tensor.name: _mapped(bundle.folder, tensor) for tensor in outside if tensor.name in wanted}
    return (found[wanted[0]], found[wanted[1]]) if len(found) == len(wanted) else None


def int8_copy(screen: Path, items: int, dim: int) -> Int8Index | None:
    """The int8 copy that a bundle's `screen.onnx` refers to, as memory maps; None where it is another graph than ours."""
    graph, blocks = graph_file.read(_small(screen, GRAPH_BYTES)), -(-items // contract.BLOCK)
    outside = [tensor for tensor in graph.tensors if tensor.external and tensor.data_type == graph_file.INT8]
    counts = [tensor.dims[1] for tensor in outside if len(tensor.dims) == 2 and tensor.dims[0] == dim]
    shapes = {contract.ROTATION: (dim, dim), contract.BLOCK_STEP: (1, blocks), contract.BLOCK_LENGTHS: (2, blocks)}
    floats = {tensor.name: tensor for tensor in graph.tensors if tensor.name in shapes and tensor.data_type == graph_file.FLOAT}
    whole = len(counts) == len(outside) and sum(counts) == blocks * contract.BLOCK and not any(n % contract.BLOCK for n in counts)
    if not whole or {name: tensor.dims for name, tensor in floats.items() if len(tensor.raw) == tensor.nbytes} != shapes:
        return None
    pieces = tuple(_mapped(screen.parent, tensor, np.int8) for tensor in outside)
    rotation, step, lengths = (np.frombuffer(floats[name].raw, np.float32).reshape(shape) for name, shape in shapes.items())
    return Int8Index(pieces, rotation, step[0], *lengths)


def _mapped(folder: Path, tensor: graph_file.Tensor, dtype: Any = np.float32) -> NDArray[Any]:
    name, offset, _ = tensor.span
    return np.memmap(folder / name, dtype, mode="r", offset=offset, shape=tensor.dims)


def _open_checked(folder: Path, found: Manifest) -> Bundle:
    for stage in (_wrong_files, _wrong_digests, _wrong_graphs):
        problems = list(stage(folder, found))
        if problems:
            raise BundleInvalid(problems)
    return Bundle(
        folder=folder,
        manifest=found,
        users=_vocabulary(folder, "user", found.ids["user"], found.users),
        items=_vocabulary(folder, "item", found.ids["item"], found.items),
        golden=_golden(folder, found),
        item_metadata=_item_metadata(folder, found),
        interactions=_interactions(folder, found),
        columns=_columns(folder, found),
    )


def _wrong_files(folder: Path, found: Manifest) -> Iterator[str]:
    """Files missing, beyond the manifest, of another size, or anything but plain files."""
    expected = found.sizes
    for item in sorted(folder.iterdir()):
        if item.name == contract.MANIFEST:
            continue
        if item.name not in expected:
            yield f"{item.name}: not in the manifest; a bundle holds nothing else"
        elif item.is_symlink() or not item.is_file():
            yield f"{item.name}: must be a plain file, not a link or a folder"
    for name, size in expected.items():
        path = folder / name
        if not path.is_symlink() and not path.exists():
            yield f"{name}: missing"
        elif path.is_file() and path.stat().st_size != size:
            yield f"{name}: {path.stat().st_size} bytes, but the manifest says {size}"
    for name in sorted(_needed(found) - set(expected)):
        yield f"{name}: needed, but not in the manifest's list of files"


def _needed(found: Manifest) -> set[str]:
    """The files that a bundle of this manifest can't do without."""
    needed = set(found.graphs.values()) | {contract.GOLDEN}
    needed |= {file for side, kind in found.ids.items() if (file := contract.id_file(side, kind))}
    if found.interactions:
        needed |= {contract.INTERACTION_OFFSETS, contract.INTERACTION_ITEMS}
    return needed | ({contract.COLUMN_DATA} if contract.COLUMNS in found.sizes else set())


def _wrong_digests(folder: Path, found: Manifest) -> Iterator[str]:
    for entry in found.files:
        if _digest(folder / entry.path) != entry.sha256:
            yield f"{entry.path}: its SHA-256 is not the manifest's; the file was changed or damaged"


def _wrong_graphs(folder: Path, found: Manifest) -> Iterator[str]:
    shapes, counts = _table_shapes(found), dict(zip(contract.ROW_COUNTS, (found.users, found.items), strict=True))
    scanned: set[tuple[str, int, int]] = set()
    places: dict[str, tuple[str, int, int]] = {}  # a table is one, whichever graph reads it
    for name in found.graphs.values():
        try:
            graph = graph_file.read(_small(folder / name, GRAPH_BYTES))
        except ValueError:
            yield f"{name}: not an ONNX file, or cut off"
            continue
        problems = list(graph_file.problems(graph, found.sizes))
        yield from (f"{name}: {problem}" for problem in problems)
        for tensor in graph.tensors:
            if tensor.dims != shapes.get(tensor.name, tensor.dims):
                yield f"{name}: {tensor.name} has shape {tensor.dims}, but the manifest makes it {shapes[tensor.name]}"
            elif tensor.name in counts and bytes(tensor.raw) != np.int64(counts[tensor.name]).tobytes():
                yield f"{name}: {tensor.name} is not {counts[tensor.name]}, as the manifest has it"
            elif not tensor.external or problems or tensor.data_type != graph_file.FLOAT:
                continue
            elif tensor.name in shapes and places.setdefault(tensor.name, tensor.span) != tensor.span:
                yield f"{name}: {tensor.name} lies elsewhere than in another graph"
            elif tensor.span not in scanned:
                scanned.add(tensor.span)
                if not _finite(folder, *tensor.span):
                    yield f"{name}: tensor {tensor.name!r} holds NaN or infinity"


def _table_shapes(found: Manifest) -> dict[str, tuple[int, ...]]:
    if found.dim is None:
        return {}
    return {
        contract.USER_TABLE: (found.users, found.dim),
        contract.ITEM_TABLE: (found.items, found.dim),
        contract.ITEM_BLOCKS: (-(-found.items // contract.BLOCK), contract.BLOCK, found.dim),
    }


def _finite(folder: Path, name: str, offset: int, length: int) -> bool:
    values = np.memmap(folder / name, np.float32, mode="r", offset=offset, shape=(length // 4,))
    return all(np.isfinite(values[at : at + SCAN_ELEMENTS]).all() for at in range(0, len(values), SCAN_ELEMENTS))


def _vocabulary(folder: Path, side: str, kind: str, count: int) -> Vocabulary:
    name = contract.id_file(side, kind)
    if name is None:
        return RowNumbers(count)
    try:
        ids: Vocabulary = IntegerIds(_array(folder, name)) if kind == "integer" else StringIds(_strings(folder, name))
    except BundleInvalid as error:
        raise BundleInvalid([f"{name}: {problem}" for problem in error.problems]) from None
    if len(ids) != count:
        raise BundleInvalid([f"{name}: {len(ids)} ids for {count} rows"])
    return ids


def _strings(folder: Path, name: str) -> list[str]:
    lines = _lines(folder, name)
    try:
        ids = [lines[row] for row in range(len(lines))]
    except ValueError:
        ids = [None]
    if not all(isinstance(external, str) for external in ids):
        raise BundleInvalid(["every line must be a JSON string"])
    return ids


def _item_metadata(folder: Path, found: Manifest) -> ItemMetadata | None:
    if contract.ITEM_METADATA not in found.sizes:
        return None
    metadata = ItemMetadata(_lines(folder, contract.ITEM_METADATA))
    if len(metadata) != found.items:
        raise BundleInvalid([f"{contract.ITEM_METADATA}: {len(metadata)} lines for {found.items} items"])
    return metadata


def _columns(folder: Path, found: Manifest) -> Columns | None:
    if contract.COLUMNS not in found.sizes:
        return None
    try:
        listed = _small(folder / contract.COLUMNS, INDEX_BYTES)
    except ValueError:
        raise BundleInvalid([f"{contract.COLUMNS}: larger than {INDEX_BYTES >> 20} MiB"]) from None
    return column_files.parse(listed, _bytes(folder, contract.COLUMN_DATA), found.items)


def _lines(folder: Path, name: str) -> Lines:
    return Lines(_bytes(folder, name))


def _bytes(folder: Path, name: str) -> NDArray[np.uint8]:
    """A file as a memory map; an empty one, which can't be mapped, as an empty array."""
    return np.memmap(folder / name, np.uint8, mode="r") if (folder / name).stat().st_size else np.zeros(0, np.uint8)


def _interactions(folder: Path, found: Manifest) -> Interactions | None:
    if not found.interactions:
        return None
    interactions = Interactions(
        _array(folder, contract.INTERACTION_OFFSETS), _array(folder, contract.INTERACTION_ITEMS), found.items
    )
    if interactions.users != found.users or len(interactions) != found.interactions:
        raise BundleInvalid(
            [
                f"interactions: {len(interactions)} of {interactions.users} users; "
                f"the manifest says {found.interactions} of {found.users}"
            ]
        )
    return interactions


def _golden(folder: Path, found: Manifest) -> Golden:
    try:
        with np.load(folder / contract.GOLDEN, allow_pickle=False) as arrays:
            return Golden.from_arrays(arrays, found.users, found.items)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        raise BundleInvalid([f"{contract.GOLDEN}: not a NumPy archive of plain arrays"]) from None


def _array(folder: Path, name: str) -> NDArray[Any]:
    try:
        loaded: NDArray[Any] = np.load(folder / name, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise BundleInvalid([f"{name}: not a NumPy array of plain numbers (a pickled one is never read)"]) from None
    return loaded


def _small(path: Path, limit: int) -> bytes:
    if path.stat().st_size > limit:
        raise ValueError("too large")
    return path.read_bytes()


def _entry(path: Path) -> FileEntry:
    sync(path)
    return FileEntry(path.name, path.stat().st_size, _digest(path))


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_synced(path: Path, body: bytes) -> None:
    with open(path, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
