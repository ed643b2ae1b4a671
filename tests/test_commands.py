"""The built-in commands, each in a process of its own: exit codes, messages, and the same items as the service."""

import json
import shutil

import pytest

from tests.bundles import reseal
from tests.command_line import assert_mistake, recoserve


def test_verify_prints_what_was_checked(bundle):
    process = recoserve("verify", bundle)

    assert process.returncode == 0
    assert "6 users, 8 items" in process.stdout and "golden sample" in process.stdout


def test_verify_lists_everything_that_is_wrong(own_bundle):
    (own_bundle / "golden.npz").unlink()
    (own_bundle / "extra").write_bytes(b"x")

    assert_mistake(recoserve("verify", own_bundle), "golden.npz: missing", "extra: not in the manifest")
    document = json.loads(recoserve("verify", own_bundle, "--json").stdout)
    assert (document["valid"], len(document["problems"])) == (False, 2)


def test_a_missing_folder_and_one_without_a_bundle_are_named(tmp_path):
    assert_mistake(recoserve("verify", tmp_path / "nowhere"), "no such folder")
    assert_mistake(recoserve("verify", tmp_path), "neither a bundle")


def test_inspect_shows_what_is_inside(bundle):
    assert "evens 1" in recoserve("inspect", bundle).stdout
    assert tuple(
        json.loads(recoserve("inspect", bundle, "--json").stdout)[name] for name in ("users", "items", "dim", "similarity")
    ) == (6, 8, 2, "cosine")


def test_recommend_needs_no_server(bundle):
    options = ["recommend", bundle, "--user", 0, "-k", 2, "--exclude-seen", "--exclude-item", 2]
    response = json.loads(recoserve(*options, "--json").stdout)

    assert [item["item_id"] for item in response["items"]] == [6, 1]
    assert response["model"] == {"name": "evens", "version": "1"}
    table = recoserve(*options).stdout
    assert "Item 6" in table and "even" in table


def test_recommend_takes_the_options_of_a_request(bundle):
    """A filter as JSON, diversity, and the most popular items for an unknown user."""
    options = ["recommend", bundle, "-k", 2, "--filter", '{"genres": {"any": ["odd"]}}', "--json"]
    response = json.loads(recoserve(*options, "--user", 0, "--diversity", 0.5).stdout)
    assert [item["item_id"] % 2 for item in response["items"]] == [1, 1]

    response = json.loads(recoserve(*options[:4], "--user", 99, "--fallback", "popular", "--json").stdout)
    assert (response["fallback"], [item["item_id"] for item in response["items"]]) == ("popular", [0, 4])

    assert_mistake(recoserve("recommend", bundle, "--user", 0, "--filter", "{"), "--filter: not valid JSON")
    assert_mistake(recoserve("recommend", bundle, "--user", 0, "--filter", '{"genres": {"eq": 1}}'), "/filter/genres/eq")


@pytest.mark.parametrize(
    ("user", "words"), [("6", "[0, 5]"), ("-1", "[0, 5]"), ("alice", "must be an integer"), ("1.0", "must be an integer")]
)
def test_an_id_that_the_bundle_can_not_have_is_a_mistake(bundle, user, words):
    assert_mistake(recoserve("recommend", bundle, "--user", user), words)


def test_a_k_below_1_is_a_mistake(bundle):
    assert_mistake(recoserve("recommend", bundle, "--user", 1, "-k", 0), "/k")


def test_serve_without_a_bundle_says_how_to_name_one(tmp_path):
    assert_mistake(recoserve("serve"), "name a bundle")
    assert_mistake(recoserve("serve", tmp_path / "nowhere"), "no such folder")


def test_serve_refuses_an_unknown_setting(bundle):
    assert_mistake(recoserve("serve", bundle, RECOSERVE_MAXK="5"), "RECOSERVE_MAXK")


def test_serve_refuses_cuda_where_there_is_none(bundle):
    process = recoserve("serve", bundle, "--provider", "cuda", CUDA_VISIBLE_DEVICES="")

    assert process.returncode == 1
    assert "cuda" in process.stderr and "Traceback" not in process.stderr


def test_serve_refuses_a_broken_bundle(own_bundle):
    body = bytearray((own_bundle / "tensors.bin").read_bytes())
    body[7] ^= 1
    (own_bundle / "tensors.bin").write_bytes(body)

    process = recoserve("serve", own_bundle, "--port", 0)
    assert process.returncode == 1
    assert "tensors.bin" in process.stderr and "Traceback" not in process.stderr


def test_several_models_in_one_folder_are_named(bundle, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1").symlink_to(bundle)

    assert_mistake(recoserve("verify", tmp_path), "several models (a, b)")


def test_a_models_folder_serves_the_highest_version_or_the_current_one(bundle, tmp_path):
    for version in ("9", "10"):
        reseal(shutil.copytree(bundle, tmp_path / "evens" / version), version=version)
    assert "evens 10" in recoserve("verify", tmp_path).stdout

    (tmp_path / "evens" / "current").symlink_to("9")
    assert "evens 9" in recoserve("verify", tmp_path).stdout

    (tmp_path / "evens" / "current").unlink()
    (tmp_path / "evens" / "current").symlink_to("11")
    assert_mistake(recoserve("verify", tmp_path), "points to no bundle")
