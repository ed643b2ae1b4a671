"""A models folder: which bundles are served, and under which names."""

import shutil

import pytest

from recoserve.bundle.repository import find_bundle, find_bundles
from recoserve.errors import BundleInvalid
from tests.bundles import reseal


@pytest.fixture
def shelf(bundle, tmp_path):
    """Puts a copy of a bundle at NAME/VERSION, under a name of its own."""

    def put(place, name):
        reseal(shutil.copytree(bundle, tmp_path / place), name=name, version="1")
        return tmp_path / place

    return put


def test_each_name_is_served_by_its_highest_version_or_the_current_one(shelf, tmp_path):
    """In alphabetical order of the names, which are the manifests', not the folders'."""
    shelf("a/9", "films")
    shelf("a/10", "films")
    shelf("b/1", "books")
    shelf("b/2", "books")
    (tmp_path / "b" / "current").symlink_to("1")

    assert [("books", tmp_path / "b/1"), ("films", tmp_path / "a/10")] == list(find_bundles(tmp_path).items())


def test_a_bundle_is_a_shelf_of_its_own(bundle):
    assert find_bundles(bundle) == {"evens": bundle}


def test_what_is_half_written_or_no_bundle_is_not_seen(shelf, tmp_path):
    shelf("films/1", "films")
    (tmp_path / ".books.partial-1" / "1").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    (tmp_path / "README").write_text("bundles")

    assert list(find_bundles(tmp_path)) == ["films"]


def test_two_models_of_one_name_are_refused_with_both_folders(shelf, tmp_path):
    """Each pair in a sentence of its own, and what to do about it."""
    first, second = shelf("a/1", "films"), shelf("b/1", "films")
    third, fourth = shelf("c/1", "books"), shelf("d/1", "books")
    shelf("e/1", "games")

    with pytest.raises(BundleInvalid) as refused:
        find_bundles(tmp_path)
    one, other = refused.value.problems
    assert str(first) in one and str(second) in one and "films" in one and "--name" in one
    assert str(third) in other and str(fourth) in other


def test_two_versions_of_one_model_are_no_namesakes(shelf, tmp_path):
    shelf("films/1", "films")
    shelf("films/2", "films")

    assert find_bundles(tmp_path) == {"films": tmp_path / "films" / "2"}


def test_a_manifest_that_cannot_be_read_is_told_with_its_folder(shelf, tmp_path):
    shelf("a/1", "films")
    (shelf("b/1", "books") / "manifest.json").write_text("{}")

    with pytest.raises(BundleInvalid, match=f"{tmp_path}/b/1: manifest.json: format_version"):
        find_bundles(tmp_path)


@pytest.mark.parametrize("find", [find_bundle, find_bundles])
def test_a_folder_without_a_bundle_is_refused(tmp_path, find):
    with pytest.raises(BundleInvalid, match="neither a bundle"):
        find(tmp_path)
    with pytest.raises(BundleInvalid, match="no such folder"):
        find(tmp_path / "nowhere")


def test_whoever_takes_one_bundle_names_those_to_choose_from(shelf, tmp_path):
    shelf("a/1", "films")
    shelf("b/1", "books")

    with pytest.raises(BundleInvalid, match=r"several models \(a, b\)"):
        find_bundle(tmp_path)
    assert find_bundle(tmp_path / "b") == tmp_path / "b" / "1"
