"""Parses, checks and encodes `manifest.json`, format version 1. No I/O.

The manifest holds the SHA-256 of every other file. Its last member, `digest`, is the SHA-256 of the manifest itself, computed with
64 zeros in the digest's place. So no bit of a bundle changes unnoticed, not even in a name or a count. Digests show damage,
not forgery: whoever changes a bundle on purpose can compute a new digest (docs/decisions/0001).
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
BLANK_DIGEST = "0" * 64


@dataclass(frozen=True)
class FileEntry:
    """One file of a bundle: its name, its size, and the SHA-256 of its bytes in hexadecimal."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A bundle's description of itself, and the digest of every file in it.

    `users`, `items` and `interactions` are numbers of them; `dim` is the width of both embedding tables, None where the score is
    more than one dot product.
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

    def document(self) -> dict[str, Any]:
        """The manifest as a JSON object, without its digest."""
        return {"format_version": contract.FORMAT_VERSION, **dataclasses.asdict(self)}

    def dump(self) -> bytes:
        """The manifest as UTF-8 JSON, indented for people to read, its digest filled in."""
        members = {**self.document(), "digest": BLANK_DIGEST}
        body = (json.dumps(members, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
        return body.replace(BLANK_DIGEST.encode(), hashlib.sha256(body).hexdigest().encode())


def parse_manifest(body: bytes) -> Manifest:
    """The manifest in the bytes of `manifest.json`; raises BundleInvalid with every problem, not only the first."""
    try:
        members = strict_json.parse(body)
    except MalformedJson as error:
        raise BundleInvalid([f"{contract.MANIFEST}: {error}"]) from None
    if not isinstance(members, dict):
        raise BundleInvalid([f"{contract.MANIFEST}: must be a JSON object"])
    # The version is checked before the digest, which a newer format may compute in another way.
    version = members.pop("format_version", None)
    if version != contract.FORMAT_VERSION or isinstance(version, bool):
        raise BundleInvalid(
            [f"{contract.MANIFEST}: format_version must be {contract.FORMAT_VERSION}; a newer one needs a newer recoserve"]
        )
    if not _is_digest_of(members.pop("digest", None), body):
        raise BundleInvalid([f"{contract.MANIFEST}: its digest is not that of its content; the manifest was changed or damaged"])
    problems = [f"{contract.MANIFEST}: {problem}" for problem in _problems(members)]
    if problems:
        raise BundleInvalid(problems)
    return Manifest(**{**members, "files": tuple(FileEntry(**entry) for entry in members["files"])})


def _is_digest_of(digest: Any, body: bytes) -> bool:
    if not isinstance(digest, str) or not SHA256.fullmatch(digest):
        return False
    # Hashes the bytes that were read, not the JSON that they parse to: otherwise a changed space would go unnoticed.
    return hashlib.sha256(body.replace(digest.encode(), BLANK_DIGEST.encode())).hexdigest() == digest


def _problems(members: dict[str, Any]) -> list[str]:
    fields = {field.name: field for field in dataclasses.fields(Manifest)}
    problems = [f"unknown member {name!r}" for name in members if name not in fields]
    for name, field in fields.items():
        if name in members:
            rule, is_valid = _RULES[name]
            if not is_valid(members[name]):
                problems.append(f"{name} must be {rule}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"{name} is missing")
    return problems


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value < 2**40


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _are_id_kinds(value: Any) -> bool:
    return _is_object(value) and set(value) == set(contract.SIDES) and all(kind in contract.ID_KINDS for kind in value.values())


def _are_graphs(value: Any) -> bool:
    return _is_object(value) and set(contract.GRAPHS) <= set(value) and all(_is_name(path) for path in value.values())


def _are_files(value: Any) -> bool:
    if not isinstance(value, list) or not all(map(_is_file, value)):
        return False
    paths = [entry["path"] for entry in value]
    return len(paths) == len(set(paths)) and contract.MANIFEST not in paths


def _is_file(entry: Any) -> bool:
    # A path is a plain name: neither a separator nor "..", so that no entry leads out of the bundle's folder.
    return (
        _is_object(entry)
        and set(entry) == {"path", "bytes", "sha256"}
        and _is_name(entry["path"])
        and type(entry["bytes"]) is int
        and entry["bytes"] >= 0
        and isinstance(entry["sha256"], str)
        and SHA256.fullmatch(entry["sha256"]) is not None
    )


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("1 to 128 characters of A-Za-z0-9._-", _is_name),
    "version": ("1 to 128 characters of A-Za-z0-9._-", _is_name),
    "created": ("a string", lambda value: isinstance(value, str)),
    "similarity": ("one of " + ", ".join(contract.SIMILARITIES), lambda value: value in contract.SIMILARITIES),
    "users": ("a positive integer", _is_count),
    "items": ("a positive integer", _is_count),
    "dim": ("a positive integer, or null for a model without vectors", lambda value: value is None or _is_count(value)),
    "ids": ("an object with user and item, each one of " + ", ".join(contract.ID_KINDS), _are_id_kinds),
    "graphs": ("an object that names a file for each of " + ", ".join(contract.GRAPHS), _are_graphs),
    "files": ("a list of distinct files, each with path (a plain name), bytes and sha256", _are_files),
    "interactions": ("an integer of 0 or more", lambda value: type(value) is int and value >= 0),
    "source": ("an object", _is_object),
    "parity": ("an object", _is_object),
    "metrics": ("an object", _is_object),
}
