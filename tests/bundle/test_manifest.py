"""The manifest: parse and dump agree, every wrong member is named, and no bit of it can change unnoticed."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.bundle import contract
from recoserve.bundle.manifest import BLANK_DIGEST, parse_manifest
from recoserve.errors import BundleInvalid

ENTRY = {"path": "model.onnx", "bytes": 3, "sha256": "1" * 64}
GOOD = {
    "format_version": 1,
    "name": "movies",
    "version": "1",
    "created": "2026-01-01T00:00:00Z",
    "similarity": "cosine",
    "users": 610,
    "items": 9742,
    "dim": 64,
    "ids": {"user": "integer", "item": "string"},
    "graphs": contract.GRAPHS,
    "files": [ENTRY],
}


def with_digest(document):
    """The bytes of a document with the right digest, however wrong its other members may be."""
    body = json.dumps({**document, "digest": BLANK_DIGEST}).encode()
    return body.replace(BLANK_DIGEST.encode(), hashlib.sha256(body).hexdigest().encode())


def problems(**changes):
    document = {name: value for name, value in {**GOOD, **changes}.items() if value is not ...}
    with pytest.raises(BundleInvalid) as caught:
        parse_manifest(with_digest(document))
    return "\n".join(caught.value.problems)


def test_dump_and_parse_are_inverse():
    parsed = parse_manifest(with_digest(GOOD))

    assert parsed == parse_manifest(parsed.dump())


@given(st.data())
def test_no_flipped_bit_goes_unnoticed(data):
    """Law: a manifest with any one bit changed is refused."""
    body = bytearray(with_digest(GOOD))
    body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(BundleInvalid):
        parse_manifest(bytes(body))


@pytest.mark.parametrize("name", [name for name in GOOD if name != "format_version"])
def test_a_missing_member_is_named(name):
    assert f"{name} is missing" in problems(**{name: ...})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "../up"),
        ("name", ""),
        ("name", "a" * 129),
        ("version", 1),
        ("similarity", "euclid"),
        ("users", 0),
        ("users", True),
        ("items", -1),
        ("items", 1.5),
        ("dim", 2**50),
        ("ids", {"user": "row"}),
        ("ids", {"user": "row", "item": "uuid"}),
        ("graphs", {"recommend": "model.onnx"}),
        ("graphs", {**contract.GRAPHS, "score": "../x"}),
        ("files", {}),
        ("files", [ENTRY, ENTRY]),
        ("files", [{**ENTRY, "path": "a/b"}]),
        ("files", [{**ENTRY, "path": ".."}]),
        ("files", [{**ENTRY, "bytes": -1}]),
        ("files", [{**ENTRY, "sha256": "1" * 63}]),
        ("files", [{**ENTRY, "path": "manifest.json"}]),
        ("interactions", -1),
        ("source", []),
    ],
)
def test_a_wrong_member_is_named(name, value):
    assert f"{name} must be" in problems(**{name: value})


def test_every_problem_is_listed():
    assert len(problems(users=0, items=..., surprise=1).splitlines()) == 3


@pytest.mark.parametrize("version", [0, 2, "1", True, None])
def test_another_format_version_is_refused(version):
    assert "format_version must be 1" in problems(format_version=version)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"a": NaN}', b"\xff", b'{"name": 1, "name": 2}'])
def test_anything_but_a_json_object_is_refused(body):
    with pytest.raises(BundleInvalid):
        parse_manifest(body)


@given(st.dictionaries(st.sampled_from(list(GOOD)), st.none() | st.integers() | st.text() | st.lists(st.integers()), max_size=12))
def test_no_document_raises_anything_but_bundle_invalid(changes):
    """Law: every JSON object is parsed, or refused with BundleInvalid."""
    try:
        parse_manifest(with_digest({**GOOD, **changes}))
    except BundleInvalid as error:
        assert error.problems
