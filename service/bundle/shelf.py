"""A models folder: `NAME/VERSION/` bundles, and which of them to serve."""

import re
from pathlib import Path

from service.bundle import contract
from service.errors import BundleInvalid


def find_bundle(path: Path) -> Path:
    """The bundle that a path stands for: itself, or the chosen version of the one model in a models folder.

    The choice is what a `NAME/current` link points to, otherwise the highest version (numbers compared as numbers).
    Raises BundleInvalid where there is no bundle, or more than one model.
    """
    if not path.is_dir():
        raise BundleInvalid([f"{path}: no such folder"])
    if (path / contract.MANIFEST).exists():
        return path
    models = {model.name: chosen for model in _visible(path) if (chosen := _chosen(model))}
    if not models:
        raise BundleInvalid([f"{path}: neither a bundle (no {contract.MANIFEST}) nor a folder of NAME/VERSION/ bundles"])
    if len(models) > 1:
        raise BundleInvalid([f"{path}: holds several models ({', '.join(models)}); name the folder of one of them"])
    return next(iter(models.values()))


def _chosen(model: Path) -> Path | None:
    current = model / "current"
    if current.is_symlink():
        if not (current / contract.MANIFEST).exists():
            raise BundleInvalid([f"{current}: points to no bundle"])
        return current.resolve()
    if (model / contract.MANIFEST).exists():
        return model
    versions = [version for version in _visible(model) if (version / contract.MANIFEST).exists()]
    return max(versions, key=_order, default=None)


def _visible(folder: Path) -> list[Path]:
    """Folders that are meant to be seen: a bundle being written is hidden until it is whole."""
    return sorted(inner for inner in folder.iterdir() if inner.is_dir() and inner.name[0] != ".")


def _order(version: Path) -> list[tuple[int, int, str]]:
    """`10` after `9`, `1.10` after `1.9`: runs of digits compare as numbers."""
    parts = re.findall(r"\d+|\D+", version.name)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
