"""Real bundles for tests: written by the exporter, and given a new manifest after being tampered with."""

import dataclasses
from pathlib import Path

from recoserve.bundle import contract
from recoserve.bundle.draft import file_entry
from recoserve.bundle.manifest import parse_manifest
from recoserve_export import export_model
from tests.fakes import even_likes_even

METADATA = [{"title": f"Item {row}", "genres": ["even" if row % 2 == 0 else "odd"]} for row in range(8)]
INTERACTIONS = ([0, 0, 2], [0, 4, 6])


def make_bundle(folder: Path, **options) -> Path:
    """Even users like even items: 6 users, 8 items, with metadata and interactions."""
    export_model(even_likes_even(), folder, **{"items": METADATA, "interactions": INTERACTIONS, "name": "evens", **options})
    return folder


def reseal(folder: Path, **changes) -> None:
    """Write the manifest again, with the digests that the files have now, so that only the files' contents can be at fault."""
    path = folder / contract.MANIFEST
    entries = tuple(file_entry(file) for file in sorted(folder.iterdir()) if file != path)
    changed = dataclasses.replace(parse_manifest(path.read_bytes()), **{"files": entries, **changes})
    path.write_bytes(changed.dump())
