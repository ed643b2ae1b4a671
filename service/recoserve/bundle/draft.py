"""Writes a bundle so that nobody ever sees it half-written.

Files are written in a hidden folder beside the target; the manifest comes last; then the folder is renamed. Whenever the process is
killed, the target is a complete bundle or absent. At most the hidden folder is left, which `repository` ignores.
"""

import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle import column_files, contract, files
from recoserve.bundle.columns import Columns
from recoserve.bundle.json_lines import JsonLines
from recoserve.bundle.manifest import FileEntry, Manifest, parse_manifest
from recoserve.errors import ExportRefused
from recoserve.fsync import fsync


class Draft:
    """A bundle being written. A `with` block that ends without `publish` leaves nothing behind.

    Raises ExportRefused where `target` exists, except as an empty folder, and where its parent can't be written to.
    """

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
        """Write one array as a `.npy` file."""
        np.save(self.folder / name, array, allow_pickle=False)

    def add_arrays(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Write named arrays as one `.npz` file."""
        with open(self.folder / name, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub takes no mapping of arrays

    def add_lines(self, name: str, lines: Iterable[bytes]) -> None:
        """Write lines, each with its line end, as one file."""
        with open(self.folder / name, "wb") as file:
            file.writelines(lines)

    def add_columns(self) -> None:
        """Write the columns of the item metadata that was added before.

        They come from the file, not from the caller's objects: JSON makes a tuple a list and a key a string, and filters have to
        find what requests will be shown.
        """
        metadata = JsonLines(files.map_bytes(self.folder / contract.ITEM_METADATA))
        columns = Columns.from_metadata((metadata[row] for row in range(len(metadata))), len(metadata))
        self.add_lines(contract.COLUMNS, [column_files.encode_index(columns)])
        self.add_lines(contract.COLUMN_DATA, column_files.encode_data(columns))

    def publish(self, **members: Any) -> Manifest:
        """Write the manifest, move the bundle to its target, and return the manifest.

        `members` are the fields of `Manifest` without `files`. Raises BundleInvalid where one of them is wrong.
        """
        # Every file is on the disk before the manifest names its digest, and all of them before the folder has its final name: a
        # power failure must not leave a bundle at the target whose bytes never arrived.
        entries = tuple(file_entry(path) for path in sorted(self.folder.iterdir()))
        manifest = Manifest(files=entries, **members)
        body = manifest.dump()
        parse_manifest(body)  # a manifest that readers would refuse is never published
        (self.folder / contract.MANIFEST).write_bytes(body)
        fsync(self.folder / contract.MANIFEST)
        fsync(self.folder)
        self.folder.rename(self.target)
        fsync(self.target.parent)  # a rename changes the parent's list of names, which the system writes in its own time
        return manifest


def file_entry(path: Path) -> FileEntry:
    """A file's name, size and digest for the manifest, after its bytes are safe on the disk."""
    fsync(path)
    return FileEntry(path.name, path.stat().st_size, files.sha256(path))
