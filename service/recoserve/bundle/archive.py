"""Opens a bundle: reads the manifest, checks the files against it, then parses the files."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recoserve.bundle import column_files, contract, files
from recoserve.bundle.columns import Columns
from recoserve.bundle.golden import Golden
from recoserve.bundle.integrity import check_files
from recoserve.bundle.interactions import Interactions
from recoserve.bundle.json_lines import JsonLines
from recoserve.bundle.manifest import Manifest, parse_manifest
from recoserve.bundle.vocabulary import IntegerIds, RowNumbers, StringIds, Vocabulary
from recoserve.errors import BundleInvalid

MAX_MANIFEST_BYTES = 64 << 20
MAX_COLUMN_INDEX_BYTES = 64 << 20


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every file has been checked against its manifest; optional content that it lacks is None."""

    folder: Path
    manifest: Manifest
    users: Vocabulary
    items: Vocabulary
    golden: Golden
    item_metadata: JsonLines | None  # an object for each item
    interactions: Interactions | None
    columns: Columns | None = None

    def graph(self, role: str) -> Path:
        """The file of a graph, by its role in the manifest."""
        return self.folder / self.manifest.graphs[role]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the bundle in a folder, whose other files aren't read; raises BundleInvalid if it is missing or wrong."""
    path = folder / contract.MANIFEST
    if not path.is_file() or path.is_symlink():
        raise BundleInvalid([f"{folder}: has no plain file {contract.MANIFEST}, so it is no bundle, or a half-written one"])
    return parse_manifest(files.read_bytes(path, MAX_MANIFEST_BYTES))


def open_bundle(folder: Path) -> Bundle:
    """The bundle in a folder, checked from its manifest to its last tensor; large arrays are memory maps.

    Raises BundleInvalid with every problem that the first failing stage of the checks found.
    """
    try:
        return _open_checked(folder, read_manifest(folder))
    except OSError as error:
        raise BundleInvalid([f"{error.filename or folder}: {error.strerror}"]) from None


def _open_checked(folder: Path, manifest: Manifest) -> Bundle:
    check_files(folder, manifest)
    return Bundle(
        folder=folder,
        manifest=manifest,
        users=_vocabulary(folder, "user", manifest.ids["user"], manifest.users),
        items=_vocabulary(folder, "item", manifest.ids["item"], manifest.items),
        golden=_golden(folder, manifest),
        item_metadata=_item_metadata(folder, manifest),
        interactions=_interactions(folder, manifest),
        columns=_columns(folder, manifest),
    )


def _vocabulary(folder: Path, side: str, kind: str, row_count: int) -> Vocabulary:
    name = contract.id_file(side, kind)
    if name is None:
        return RowNumbers(row_count)
    # Outside the `try`, since its errors name the file already.
    integers = files.map_array(folder / name) if kind == "integer" else None
    try:
        ids: Vocabulary = StringIds(_strings(folder / name)) if integers is None else IntegerIds(integers)
    except BundleInvalid as error:
        raise error.within(name) from None
    if len(ids) != row_count:
        raise BundleInvalid([f"{name}: {len(ids)} ids for {row_count} rows"])
    return ids


def _strings(path: Path) -> list[str]:
    lines = JsonLines(files.map_bytes(path))
    try:
        strings = [lines[row] for row in range(len(lines))]
    except ValueError:  # a line is not JSON
        strings = [None]  # not a string either
    if not all(isinstance(string, str) for string in strings):
        raise BundleInvalid(["every line must be a JSON string"])
    return strings


def _item_metadata(folder: Path, manifest: Manifest) -> JsonLines | None:
    if contract.ITEM_METADATA not in manifest.sizes:
        return None
    metadata = JsonLines(files.map_bytes(folder / contract.ITEM_METADATA))
    if len(metadata) != manifest.items:
        raise BundleInvalid([f"{contract.ITEM_METADATA}: {len(metadata)} lines for {manifest.items} items"])
    return metadata


def _columns(folder: Path, manifest: Manifest) -> Columns | None:
    if contract.COLUMNS not in manifest.sizes:
        return None
    index = files.read_bytes(folder / contract.COLUMNS, MAX_COLUMN_INDEX_BYTES)
    return column_files.parse(index, files.map_bytes(folder / contract.COLUMN_DATA), manifest.items)


def _interactions(folder: Path, manifest: Manifest) -> Interactions | None:
    if not manifest.interactions:
        return None
    offsets = files.map_array(folder / contract.INTERACTION_OFFSETS)
    items = files.map_array(folder / contract.INTERACTION_ITEMS)
    interactions = Interactions(offsets, items, manifest.items)
    if interactions.user_count != manifest.users or len(interactions) != manifest.interactions:
        counts = f"{len(interactions)} of {interactions.user_count} users"
        raise BundleInvalid([f"interactions: {counts}, but the manifest says {manifest.interactions} of {manifest.users}"])
    return interactions


def _golden(folder: Path, manifest: Manifest) -> Golden:
    try:
        with np.load(folder / contract.GOLDEN, allow_pickle=False) as arrays:
            return Golden.from_arrays(arrays, manifest.users, manifest.items)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        raise BundleInvalid([f"{contract.GOLDEN}: not a NumPy archive of plain arrays"]) from None
