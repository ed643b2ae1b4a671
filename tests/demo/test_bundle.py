"""The committed demo bundle is valid, small and made from the library, and its recommendations follow the readers' tastes."""

import numpy as np
import onnxruntime
import pytest

from recoserve.bundle import archive
from recoserve.demo import BUNDLE, library


@pytest.fixture(scope="module")
def bundle() -> archive.Bundle:
    return archive.open_bundle(BUNDLE)


@pytest.fixture(scope="module")
def generated() -> library.SyntheticLibrary:
    return library.generate()


def test_the_bundle_is_valid_and_under_300_kilobytes(bundle):
    assert bundle.manifest.name == "library"
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) < 300_000


def test_the_bundle_holds_the_metadata_and_interactions_of_the_library(bundle, generated):
    for row, book in enumerate(generated.books):
        metadata = {"title": book.title, "author": book.author, "genres": list(book.genres), "year": book.year}
        assert bundle.item_metadata[row] == metadata
    read = {(rating.user_id - 1, rating.book_id - 1) for rating in generated.ratings}
    assert {(user, int(item)) for user in range(200) for item in bundle.interactions.of(user)} == read


def test_ids_count_from_1(bundle):
    assert bundle.users.external(range(200)) == list(range(1, 201))
    assert bundle.items.external(range(300)) == list(range(1, 301))


@pytest.mark.parametrize("unseen", [False, True], ids=["all books", "unread books"])
def test_seven_of_ten_recommended_books_are_of_a_genre_that_the_reader_loves(unseen, bundle, generated):
    session = onnxruntime.InferenceSession(bundle.graph("recommend"), providers=["CPUExecutionProvider"])
    ranked = session.run(None, {"user_id": np.arange(200), "k": np.array([300])})[0]
    shares = []
    for reader in generated.readers:
        seen = set(bundle.interactions.of(reader.user_id - 1).tolist()) if unseen else set()
        best = [row for row in ranked[reader.user_id - 1].tolist() if row not in seen][:10]
        shares.append(sum(reader.loves(generated.books[row]) for row in best) / 10)

    assert sum(shares) / len(shares) >= 0.7
