"""Real bundles for tests: written by the exporter, and re-sealed after being tampered with."""

import dataclasses
from pathlib import Path

from recoserve.bundle import archive, contract, manifest
from recoserve_export import export_model
from tests.fakes import even_likes_even

METADATA = [{"title": f"Item {row}", "genres": ["even" if row % 2 == 0 else "odd"]} for row in range(8)]
SEEN = ([0, 0, 2], [0, 4, 6])


def make_bundle(folder: Path, **options) -> Path:
    """Even users like even items: 6 users, 8 items, with metadata and seen pairs."""
    export_model(even_likes_even(), folder, **{"items": METADATA, "interactions": SEEN, "name": "evens", **options})
    return folder


def reseal(folder: Path, **changes) -> None:
    """Make the manifest true again after files were changed, so that only what is in them can be at fault."""
    sealed = manifest.parse((folder / contract.MANIFEST).read_bytes())
    entries = tuple(archive._entry(path) for path in sorted(folder.iterdir()) if path.name != contract.MANIFEST)
    (folder / contract.MANIFEST).write_bytes(manifest.dump(dataclasses.replace(sealed, **{"files": entries, **changes})))
