"""A model repository: which bundles are served, and under which names."""

import shutil

import pytest

from recoserve.bundle.repository import find_bundle, find_bundles
from recoserve.errors import BundleInvalid
from tests.bundles import reseal


@pytest.fixture
def add_bundle(bundle, tmp_path):
    """Copies a bundle to a path in the repository, with a name in its manifest; the copy's folder."""

    def copy(path, name):
        reseal(shutil.copytree(bundle, tmp_path / path), name=name, version="1")
        return tmp_path / path

    return copy


def test_each_name_is_served_by_its_highest_version_or_the_current_one(add_bundle, tmp_path):
    """The names are those of the manifests, not of the folders, in alphabetical order."""
    add_bundle("a/9", "films")
    add_bundle("a/10", "films")
    add_bundle("b/1", "books")
    add_bundle("b/2", "books")
    (tmp_path / "b" / "current").symlink_to("1")

    assert [("books", tmp_path / "b/1"), ("films", tmp_path / "a/10")] == list(find_bundles(tmp_path).items())


def test_a_bundle_is_a_repository_of_one_model(bundle):
    assert find_bundles(bundle) == {"evens": bundle}


def test_half_written_bundles_and_other_files_are_ignored(add_bundle, tmp_path):
    add_bundle("films/1", "films")
    (tmp_path / ".books.partial-1" / "1").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    (tmp_path / "README").write_text("bundles")

    assert list(find_bundles(tmp_path)) == ["films"]


def test_two_models_of_one_name_are_refused_with_both_folders(add_bundle, tmp_path):
    """A sentence for each name, which says what to do about it."""
    first, second = add_bundle("a/1", "films"), add_bundle("b/1", "films")
    third, fourth = add_bundle("c/1", "books"), add_bundle("d/1", "books")
    add_bundle("e/1", "games")

    with pytest.raises(BundleInvalid) as refused:
        find_bundles(tmp_path)
    films, books = refused.value.problems
    assert str(first) in films and str(second) in films and "films" in films and "--name" in films
    assert str(third) in books and str(fourth) in books


def test_two_versions_of_one_model_may_have_one_name(add_bundle, tmp_path):
    add_bundle("films/1", "films")
    add_bundle("films/2", "films")

    assert find_bundles(tmp_path) == {"films": tmp_path / "films" / "2"}


def test_a_manifest_that_cannot_be_read_is_named_with_its_folder(add_bundle, tmp_path):
    add_bundle("a/1", "films")
    (add_bundle("b/1", "books") / "manifest.json").write_text("{}")

    with pytest.raises(BundleInvalid, match=f"{tmp_path}/b/1: manifest.json: format_version"):
        find_bundles(tmp_path)


@pytest.mark.parametrize("find", [find_bundle, find_bundles])
def test_a_folder_without_a_bundle_is_refused(tmp_path, find):
    with pytest.raises(BundleInvalid, match="neither a bundle"):
        find(tmp_path)
    with pytest.raises(BundleInvalid, match="no such folder"):
        find(tmp_path / "nowhere")


def test_several_models_where_one_is_needed_are_listed(add_bundle, tmp_path):
    add_bundle("a/1", "films")
    add_bundle("b/1", "books")

    with pytest.raises(BundleInvalid, match=r"several models \(a, b\)"):
        find_bundle(tmp_path)
    assert find_bundle(tmp_path / "b") == tmp_path / "b" / "1"
