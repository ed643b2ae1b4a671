"""The made-up library: the same every time, and its readers' tastes are there to see."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from recoserve.demo import library
from recoserve.demo.words import SHELVES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made() -> library.Library:
    return library.generate()


def test_ids_run_from_1_upward_without_a_gap(made):
    assert list(range(1, 301)) == [book.book_id for book in made.books]
    assert list(range(1, 201)) == [reader.user_id for reader in made.readers]
    assert set(range(1, 201)) == {rating.user_id for rating in made.ratings}


def test_no_two_books_share_a_title_and_every_book_has_one_to_three_genres(made):
    known = {shelf.genre for shelf in SHELVES}

    assert len({book.title for book in made.books}) == 300
    assert all(1 <= len(book.genres) <= 3 and known >= set(book.genres) for book in made.books)
    assert all(1948 <= book.year <= 2024 for book in made.books)


def test_no_reader_reads_a_book_twice_and_stars_and_times_are_plausible(made):
    assert len(made.ratings) == len({(rating.user_id, rating.book_id) for rating in made.ratings})
    assert {step / 2 for step in range(1, 11)} >= {rating.stars for rating in made.ratings}
    assert all(library.FIRST_DAY <= rating.timestamp <= library.LAST_DAY for rating in made.ratings)


def test_four_of_five_books_that_are_read_are_of_a_loved_genre_though_one_of_five_is_in_the_library(made):
    books = {book.book_id: book for book in made.books}
    readers = {reader.user_id: reader for reader in made.readers}
    read = [readers[rating.user_id].loves(books[rating.book_id]) for rating in made.ratings]
    offered = [reader.loves(book) for reader in made.readers for book in made.books]

    assert sum(read) / len(read) >= 0.8
    assert sum(offered) / len(offered) <= 0.25


def test_favourite_authors_are_read_more_than_others_of_the_same_genres(made):
    books = {book.book_id: book for book in made.books}
    favoured, offered = 0, 0
    for reader in made.readers:
        loved = [books[rating.book_id] for rating in made.ratings if rating.user_id == reader.user_id]
        favoured += sum(book.author in reader.authors for book in loved if reader.loves(book)) / sum(map(reader.loves, loved))
        offered += sum(book.author in reader.authors for book in made.books) / sum(map(reader.loves, made.books))

    assert favoured > 1.2 * offered


def test_loved_books_have_more_stars(made):
    books = {book.book_id: book for book in made.books}
    readers = {reader.user_id: reader for reader in made.readers}
    loved, others = [], []
    for rating in made.ratings:
        (loved if readers[rating.user_id].loves(books[rating.book_id]) else others).append(rating.stars)

    assert min(loved) >= max(others), "3.5 stars are the fewest for the one and the most for the other"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for place, seed in enumerate((1, 1, 2)):
        library.write(library.generate(seed), tmp_path / str(place))
    bytes_of = [[(tmp_path / str(place) / name).read_bytes() for name in ("books.csv", "ratings.csv")] for place in range(3)]

    assert bytes_of[0] == bytes_of[1]
    assert all(one != other for one, other in zip(bytes_of[0], bytes_of[2], strict=True))


def test_the_module_writes_both_files_and_says_how_much(tmp_path):
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
