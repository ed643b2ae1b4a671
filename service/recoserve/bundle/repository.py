"""Finds bundles in a model repository, a folder of `NAME/VERSION/` bundles, and chooses which version of each model to serve."""

import re
from pathlib import Path

from recoserve.bundle import contract
from recoserve.bundle.archive import read_manifest
from recoserve.errors import BundleInvalid


def find_bundle(path: Path) -> Path:
    """The folder of one bundle: `path` itself, or the version to serve of the only model in a repository.

    Raises BundleInvalid where there is no bundle, or more than one model.
    """
    bundles = _bundles_by_folder_name(path)
    if len(bundles) > 1:
        raise BundleInvalid([f"{path}: holds several models ({', '.join(bundles)}); name the folder of one of them"])
    return next(iter(bundles.values()))


def find_bundles(path: Path) -> dict[str, Path]:
    """The folders of all bundles to serve (`path` itself, or a repository's), by the names in their manifests, alphabetically.

    Raises BundleInvalid where there is no bundle, for a manifest that can't be read, and where two models have one name.
    """
    folders_of: dict[str, list[Path]] = {}
    for folder in _bundles_by_folder_name(path).values():
        folders_of.setdefault(_manifest_name(folder), []).append(folder)
    problems = [_duplicate_name(name, folders) for name, folders in folders_of.items() if len(folders) > 1]
    if problems:
        raise BundleInvalid(problems)
    return {name: folder for name, (folder,) in sorted(folders_of.items())}


def _manifest_name(folder: Path) -> str:
    try:
        return read_manifest(folder).name
    except BundleInvalid as error:
        raise error.within(folder) from None


def _duplicate_name(name: str, folders: list[Path]) -> str:
    paths = " and ".join(map(str, folders))
    return f"{paths}: each holds a model of the name {name}; export one of them again with another --name"


def _bundles_by_folder_name(path: Path) -> dict[str, Path]:
    """The version to serve of each model, by the name of the model's folder; raises BundleInvalid where there is no bundle."""
    if not path.is_dir():
        raise BundleInvalid([f"{path}: no such folder"])
    if _is_bundle(path):
        return {path.name: path}
    versions = {model.name: version for model in _visible_folders(path) if (version := _version_to_serve(model))}
    if not versions:
        raise BundleInvalid([f"{path}: neither a bundle (no {contract.MANIFEST}) nor a folder of NAME/VERSION/ bundles"])
    return versions


def _version_to_serve(model: Path) -> Path | None:
    """The bundle that a `current` link points to, otherwise the highest version; None where the folder holds no bundle."""
    current = model / "current"
    if current.is_symlink():
        if not _is_bundle(current):
            raise BundleInvalid([f"{current}: points to no bundle"])
        return current.resolve()
    if _is_bundle(model):
        return model
    return max(filter(_is_bundle, _visible_folders(model)), key=_version_order, default=None)


def _is_bundle(folder: Path) -> bool:
    return (folder / contract.MANIFEST).exists()


def _visible_folders(folder: Path) -> list[Path]:
    # A bundle that is being written has a dot before its name; it may have its manifest already.
    return sorted(child for child in folder.iterdir() if child.is_dir() and child.name[0] != ".")


def _version_order(version: Path) -> list[tuple[int, int, str]]:
    """A sort key in which `10` comes after `9` and `1.10` after `1.9`: runs of digits compare as numbers."""
    runs = re.findall(r"\d+|\D+", version.name)
    return [(1, int(run), "") if run.isdigit() else (0, 0, run) for run in runs]
