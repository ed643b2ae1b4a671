"""The committed demo bundle: whole, small, of today's library, and its answers follow the readers' tastes."""

import numpy as np
import onnxruntime
import pytest

from recoserve.bundle import archive
from recoserve.demo import BUNDLE, library


@pytest.fixture(scope="module")
def bundle() -> archive.Bundle:
    return archive.open_bundle(BUNDLE)


@pytest.fixture(scope="module")
def made() -> library.Library:
    return library.generate()


def test_it_is_whole_and_under_300_kilobytes(bundle):
    assert bundle.manifest.name == "library"
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) < 300_000


def test_it_was_made_from_the_library_that_the_script_generates(bundle, made):
    for row, book in enumerate(made.books):
        said = {"title": book.title, "author": book.author, "genres": list(book.genres), "year": book.year}
        assert bundle.item_metadata[row] == said
    read = {(rating.user_id - 1, rating.book_id - 1) for rating in made.ratings}
    assert {(user, int(item)) for user in range(200) for item in bundle.interactions.of(user)} == read


def test_ids_run_from_1_upward(bundle):
    assert bundle.users.external(range(200)) == list(range(1, 201))
    assert bundle.items.external(range(300)) == list(range(1, 301))


@pytest.mark.parametrize("unseen", [False, True], ids=["top ten", "top ten of what is unread"])
def test_seven_of_ten_recommended_books_are_of_a_genre_that_the_reader_loves(unseen, bundle, made):
    session = onnxruntime.InferenceSession(bundle.graph("recommend"), providers=["CPUExecutionProvider"])
    ranked = session.run(None, {"user_id": np.arange(200), "k": np.array([300])})[0]
    shares = []
    for reader in made.readers:
        seen = set(bundle.interactions.of(reader.user_id - 1).tolist()) if unseen else set()
        best = [row for row in ranked[reader.user_id - 1].tolist() if row not in seen][:10]
        shares.append(sum(reader.loves(made.books[row]) for row in best) / 10)

    assert sum(shares) / len(shares) >= 0.7
