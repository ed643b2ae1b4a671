"""The made-up library is the same every time, and its ratings show the readers' tastes."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from recoserve.demo import library
from recoserve.demo.words import GENRES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generated() -> library.SyntheticLibrary:
    return library.generate()


def test_ids_count_from_1_without_a_gap(generated):
    assert list(range(1, 301)) == [book.book_id for book in generated.books]
    assert list(range(1, 201)) == [reader.user_id for reader in generated.readers]
    assert set(range(1, 201)) == {rating.user_id for rating in generated.ratings}


def test_no_two_books_share_a_title_and_every_book_has_one_to_three_genres(generated):
    known = {genre.name for genre in GENRES}

    assert len({book.title for book in generated.books}) == 300
    assert all(1 <= len(book.genres) <= 3 and known >= set(book.genres) for book in generated.books)
    assert all(1948 <= book.year <= 2024 for book in generated.books)


def test_no_reader_reads_a_book_twice_and_stars_and_times_are_plausible(generated):
    assert len(generated.ratings) == len({(rating.user_id, rating.book_id) for rating in generated.ratings})
    assert {half_stars / 2 for half_stars in range(1, 11)} >= {rating.stars for rating in generated.ratings}
    assert all(library.FIRST_TIMESTAMP <= rating.timestamp <= library.LAST_TIMESTAMP for rating in generated.ratings)


def test_readers_mostly_read_their_loved_genres(generated):
    """Four of five books that are read are of a loved genre, but only one of four in the library."""
    books = {book.book_id: book for book in generated.books}
    readers = {reader.user_id: reader for reader in generated.readers}
    read = [readers[rating.user_id].loves(books[rating.book_id]) for rating in generated.ratings]
    offered = [reader.loves(book) for reader in generated.readers for book in generated.books]

    assert sum(read) / len(read) >= 0.8
    assert sum(offered) / len(offered) <= 0.25


def test_favourite_authors_are_read_more_than_others_of_the_same_genres(generated):
    books = {book.book_id: book for book in generated.books}
    favoured, offered = 0, 0
    for reader in generated.readers:
        loved = [books[rating.book_id] for rating in generated.ratings if rating.user_id == reader.user_id]
        favoured += sum(book.author in reader.authors for book in loved if reader.loves(book)) / sum(map(reader.loves, loved))
        offered += sum(book.author in reader.authors for book in generated.books) / sum(map(reader.loves, generated.books))

    assert favoured > 1.2 * offered


def test_loved_books_have_more_stars(generated):
    books = {book.book_id: book for book in generated.books}
    readers = {reader.user_id: reader for reader in generated.readers}
    loved, others = [], []
    for rating in generated.ratings:
        (loved if readers[rating.user_id].loves(books[rating.book_id]) else others).append(rating.stars)

    assert min(loved) >= max(others), "3.5 stars are the fewest for the one and the most for the other"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for folder, seed in (("first", 1), ("again", 1), ("other", 2)):
        library.write(library.generate(seed), tmp_path / folder)
    for name in ("books.csv", "ratings.csv"):
        first, again, other = ((tmp_path / folder / name).read_bytes() for folder in ("first", "again", "other"))
        assert first == again
        assert first != other


def test_the_script_writes_both_files_and_prints_their_counts(tmp_path):
    command = [sys.executable, "-m", "recoserve.demo.library", str(tmp_path / "a/b")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("300 books, 200 readers, ")
    with open(tmp_path / "a/b/books.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["book_id", "title", "author", "genres", "year"]
    assert len(rows) == 300


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--help"]], ids=["none", "two", "option"])
def test_wrong_arguments_are_wrong_usage(arguments):
    command = [sys.executable, "-m", "recoserve.demo.library", *arguments]

    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 2
