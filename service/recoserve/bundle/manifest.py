"""`manifest.json`, format version 1: parse, dump, check. No I/O.

The manifest vouches for every other file, so its last member vouches for itself: `digest` is the SHA-256 of the
manifest's own bytes with 64 zeros in the digest's place. It tells damage, not forgery.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from recoserve import strict_json
from recoserve.bundle import contract
from recoserve.errors import BundleInvalid, MalformedJson

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
SHA256 = re.compile(r"[0-9a-f]{64}")
BLANK = "0" * 64


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle: its name, its size, and the SHA-256 of its bytes in hexadecimal."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    `users` and `items` are row counts; `dim` is the width of both tables, None where the score is more than one dot product.
    """

    name: str
    version: str
    created: str
    similarity: str
    users: int
    items: int
    dim: int | None
    ids: Mapping[str, str]  # side -> row | integer | string
    graphs: Mapping[str, str]  # role -> file
    files: tuple[FileEntry, ...]
    interactions: int = 0
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    parity: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """File name -> bytes."""
        return {entry.path: entry.bytes for entry in self.files}


def document(manifest: Manifest) -> dict[str, Any]:
    """The manifest as its JSON object."""
    return {"format_version": contract.FORMAT_VERSION, **dataclasses.asdict(manifest)}


def dump(manifest: Manifest) -> bytes:
    """The manifest as UTF-8 JSON, made for reading, its digest filled in."""
    members = {**document(manifest), "digest": BLANK}
    body = (json.dumps(members, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    return body.replace(BLANK.encode(), hashlib.sha256(body).hexdigest().encode())


def parse(body: bytes) -> Manifest:
    """Read a manifest.

    Raises BundleInvalid with every problem found, not only the first.
    """
    try:
        found = strict_json.parse(body)
    except MalformedJson as error:
        raise BundleInvalid([f"{contract.MANIFEST}: {error}"]) from None
    if not isinstance(found, dict):
        raise BundleInvalid([f"{contract.MANIFEST}: must be a JSON object"])
    version = found.pop("format_version", None)
    if version != contract.FORMAT_VERSION or isinstance(version, bool):
        raise BundleInvalid(
            [f"{contract.MANIFEST}: format_version must be {contract.FORMAT_VERSION}; a newer one needs a newer recoserve"]
        )
    if not _vouched(body, found.pop("digest", None)):
        raise BundleInvalid([f"{contract.MANIFEST}: its digest is not that of its content; it was changed or damaged"])
    problems = [f"{contract.MANIFEST}: {problem}" for problem in _problems(found)]
    if problems:
        raise BundleInvalid(problems)
    return Manifest(**{**found, "files": tuple(FileEntry(**entry) for entry in found["files"])})


def _vouched(body: bytes, digest: Any) -> bool:
    if not isinstance(digest, str) or not SHA256.fullmatch(digest):
        return False
    return hashlib.sha256(body.replace(digest.encode(), BLANK.encode())).hexdigest() == digest


def _problems(members: dict[str, Any]) -> list[str]:
    known = {field.name: field for field in dataclasses.fields(Manifest)}
    problems = [f"unknown member {name!r}" for name in members if name not in known]
    for name, field in known.items():
        if name in members:
            if not _RULES[name][1](members[name]):
                problems.append(f"{name} must be {_RULES[name][0]}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"{name} is missing")
    return problems


def _count(value: Any) -> bool:
    return type(value) is int and 1 <= value < 2**40


def _name(value: Any) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _ids(value: Any) -> bool:
    return _object(value) and set(value) == set(contract.SIDES) and all(kind in contract.ID_KINDS for kind in value.values())


def _graphs(value: Any) -> bool:
    return _object(value) and set(contract.GRAPHS) <= set(value) and all(_name(path) for path in value.values())


def _files(value: Any) -> bool:
    if not isinstance(value, list) or not all(map(_file, value)):
        return False
    paths = [entry["path"] for entry in value]
    return len(paths) == len(set(paths)) and contract.MANIFEST not in paths


def _file(entry: Any) -> bool:
    return (
        _object(entry)
        and set(entry) == {"path", "bytes", "sha256"}
        and _name(entry["path"])
        and type(entry["bytes"]) is int
        and entry["bytes"] >= 0
        and isinstance(entry["sha256"], str)
        and SHA256.fullmatch(entry["sha256"]) is not None
    )


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("1 to 128 characters of A-Za-z0-9._-", _name),
    "version": ("1 to 128 characters of A-Za-z0-9._-", _name),
    "created": ("a string", lambda value: isinstance(value, str)),
    "similarity": ("one of " + ", ".join(contract.SIMILARITIES), lambda value: value in contract.SIMILARITIES),
    "users": ("a positive integer", _count),
    "items": ("a positive integer", _count),
    "dim": ("a positive integer, or null for a model without vectors", lambda value: value is None or _count(value)),
    "ids": ("an object with user and item, each one of " + ", ".join(contract.ID_KINDS), _ids),
    "graphs": ("an object that names a file for each of " + ", ".join(contract.GRAPHS), _graphs),
    "files": ("a list of distinct files, each with path (a plain name), bytes and sha256", _files),
    "interactions": ("an integer of 0 or more", lambda value: type(value) is int and value >= 0),
    "source": ("an object", _object),
    "parity": ("an object", _object),
    "metrics": ("an object", _object),
}
