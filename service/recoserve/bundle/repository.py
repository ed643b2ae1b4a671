"""A models folder: `NAME/VERSION/` bundles, and which of them to serve."""

import re
from pathlib import Path

from recoserve.bundle import contract
from recoserve.bundle.archive import read_manifest
from recoserve.errors import BundleInvalid


def find_bundle(path: Path) -> Path:
    """The bundle that a path stands for: itself, or the chosen version of the one model in a models folder.

    Raises BundleInvalid where there is no bundle, or more than one model.
    """
    bundles = _bundles(path)
    if len(bundles) > 1:
        raise BundleInvalid([f"{path}: holds several models ({', '.join(bundles)}); name the folder of one of them"])
    return next(iter(bundles.values()))


def find_bundles(path: Path) -> dict[str, Path]:
    """The bundle of every model that a path stands for, by the models' names in alphabetical order.

    A model's name is what its manifest says. Raises BundleInvalid where there is no bundle, for a manifest that can't be read,
    and where two models have one name.
    """
    named: dict[str, list[Path]] = {}
    for bundle in _bundles(path).values():
        named.setdefault(_name(bundle), []).append(bundle)
    problems = [_namesakes(name, bundles) for name, bundles in named.items() if len(bundles) > 1]
    if problems:
        raise BundleInvalid(problems)
    return {name: bundle for name, (bundle,) in sorted(named.items())}


def _name(bundle: Path) -> str:
    try:
        return read_manifest(bundle).name
    except BundleInvalid as error:
        raise error.within(bundle) from None


def _namesakes(name: str, bundles: list[Path]) -> str:
    folders = " and ".join(map(str, bundles))
    return f"{folders}: each holds a model of the name {name}; export again with another --name, so that each has its own"


def _bundles(path: Path) -> dict[str, Path]:
    """The chosen version of each model, by the name of its folder; at least one, or BundleInvalid.

    The choice is what a `NAME/current` link points to, otherwise the highest version (numbers compared as numbers).
    """
    if not path.is_dir():
        raise BundleInvalid([f"{path}: no such folder"])
    if (path / contract.MANIFEST).exists():
        return {path.name: path}
    found = {model.name: chosen for model in _visible(path) if (chosen := _chosen(model))}
    if not found:
        raise BundleInvalid([f"{path}: neither a bundle (no {contract.MANIFEST}) nor a folder of NAME/VERSION/ bundles"])
    return found


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
