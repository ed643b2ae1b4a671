"""Generates a made-up library: books, readers with visible tastes, and ratings. No book and no person in it is real.

These commands make the bundle beside this file again:

    python -m recoserve.demo.library build/library
    recoserve train --ratings build/library/ratings.csv --items build/library/books.csv \\
        --architecture torch-dot --dim 24 --temperature 0.3 -o service/recoserve/demo/bundle --name library

Every reader loves one or two genres, and two authors of each; most of what a reader reads is of those genres. A seed gives the same
bytes on every version of Python, because only `Random.random` is called: Python promises its sequence, and not that of `choice`,
`sample` or `shuffle`.
"""

import csv
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from recoserve.demo.words import FIRST_NAMES, GENRES, LAST_NAMES, TOWNS, Genre

SEED = 7
BOOKS, READERS, AUTHORS_PER_GENRE = 300, 200, 5
MIN_READ, MAX_READ = 16, 32  # books per reader
LOVED_SHARE = 0.85  # of the books that a reader reads: how many are of a loved genre
FIRST_TIMESTAMP, LAST_TIMESTAMP = 1_577_836_800, 1_735_603_200  # 2020-01-01 and 2024-12-31, UTC, in seconds
TITLES = (
    "The {adjective} {noun}",
    "The {noun} of {town}",
    "{article} {noun} for {town}",
    "{adjective} {noun}",
    "The {adjective} {noun} of {town}",
)
PLURAL_TITLES = (
    "The {adjective} {noun}",
    "{noun} of {town}",
    "{noun} for {town}",
    "{adjective} {noun}",
    "{adjective} {noun} of {town}",
)

Choice = TypeVar("Choice")


@dataclass(frozen=True)
class Book:
    """One book; the first of its `genres` is the one that its title comes from."""

    book_id: int
    title: str
    author: str
    genres: tuple[str, ...]
    year: int
    appeal: float  # the weight with which readers pick the book


@dataclass(frozen=True)
class Reader:
    """One reader, and the genres and authors that they love."""

    user_id: int
    genres: tuple[str, ...]
    authors: frozenset[str]

    def loves(self, book: Book) -> bool:
        """Whether the book has a genre that this reader loves."""
        return not set(self.genres).isdisjoint(book.genres)


@dataclass(frozen=True)
class Rating:
    """One reader's stars (0.5 … 5) for one book, at a time in seconds since 1970."""

    user_id: int
    book_id: int
    stars: float
    timestamp: int


@dataclass(frozen=True)
class SyntheticLibrary:
    """Books and readers, each with ids from 1 upward, and the ratings of the books that each reader read."""

    books: tuple[Book, ...]
    readers: tuple[Reader, ...]
    ratings: tuple[Rating, ...]


def generate(seed: int = SEED) -> SyntheticLibrary:
    """Make the library of a seed: equal seeds give equal libraries."""
    rng = Random(seed)
    authors = _authors(rng)
    books = _books(rng, authors)
    readers = tuple(_reader(rng, number, authors) for number in range(1, READERS + 1))
    ratings = tuple(rating for reader in readers for rating in _ratings(rng, reader, books))
    return SyntheticLibrary(books, readers, ratings)


def _pick(rng: Random, choices: Sequence[Choice]) -> Choice:
    return choices[int(rng.random() * len(choices))]


def _between(rng: Random, low: int, high: int) -> int:
    return low + int(rng.random() * (high - low + 1))


def _weighted_sample(rng: Random, choices: Sequence[Choice], weights: Sequence[float], count: int) -> list[Choice]:
    """`count` different choices, likelier where the weight is larger (Efraimidis and Spirakis, 2006)."""
    keys = [rng.random() ** (1 / weight) for weight in weights]
    order = sorted(range(len(choices)), key=keys.__getitem__, reverse=True)
    return [choices[index] for index in order[:count]]


def _sample(rng: Random, choices: Sequence[Choice], count: int) -> list[Choice]:
    return _weighted_sample(rng, choices, [1.0] * len(choices), count)


def _authors(rng: Random) -> dict[str, list[str]]:
    """The authors of each genre; no author writes in two genres."""
    names = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
    authors = _sample(rng, names, AUTHORS_PER_GENRE * len(GENRES))
    return {genre.name: authors[index :: len(GENRES)] for index, genre in enumerate(GENRES)}


def _books(rng: Random, authors: dict[str, list[str]]) -> tuple[Book, ...]:
    books: list[Book] = []
    titles: set[str] = set()
    while len(books) < BOOKS:
        genre = _pick(rng, GENRES)
        title = _title(rng, genre)
        if title in titles:
            continue
        titles.add(title)
        author, year, appeal = _pick(rng, authors[genre.name]), _between(rng, 1948, 2024), 0.4 + 1.6 * rng.random() ** 3
        books.append(Book(len(books) + 1, title, author, _genres(rng, genre), year, appeal))
    return tuple(books)


def _title(rng: Random, genre: Genre) -> str:
    templates = PLURAL_TITLES if genre.name == "Poetry" else TITLES
    template, adjective, noun, town = (_pick(rng, words) for words in (templates, genre.adjectives, genre.nouns, TOWNS))
    article = "An" if noun[0] in "AEIOU" else "A"
    return template.format(adjective=adjective, noun=noun, town=town, article=article)


def _genres(rng: Random, genre: Genre) -> tuple[str, ...]:
    """The genres of a book: its own, often the neighbouring one as well, seldom a random one more."""
    names = [genre.name]
    if rng.random() < 0.45:
        names.append(genre.neighbour)
    if rng.random() < 0.1:
        names.append(_pick(rng, GENRES).name)
    return tuple(dict.fromkeys(names))


def _reader(rng: Random, number: int, authors: dict[str, list[str]]) -> Reader:
    genres = _sample(rng, [genre.name for genre in GENRES], _between(rng, 1, 2))
    favourites = [author for genre in genres for author in _sample(rng, authors[genre], 2)]
    return Reader(number, tuple(genres), frozenset(favourites))


def _ratings(rng: Random, reader: Reader, books: Sequence[Book]) -> Iterable[Rating]:
    """The ratings of one reader, in the order of reading."""
    loved_books = [book for book in books if reader.loves(book)]
    other_books = [book for book in books if not reader.loves(book)]
    count = _between(rng, MIN_READ, MAX_READ)
    loved_count = min(round(count * LOVED_SHARE), len(loved_books))
    weights = [book.appeal * (4 if book.author in reader.authors else 1) for book in loved_books]
    read_books = _weighted_sample(rng, loved_books, weights, loved_count)
    read_books += _weighted_sample(rng, other_books, [book.appeal for book in other_books], count - loved_count)
    in_order = _sample(rng, read_books, len(read_books))
    timestamps = sorted(_between(rng, FIRST_TIMESTAMP, LAST_TIMESTAMP) for _ in in_order)
    for book, timestamp in zip(in_order, timestamps, strict=True):
        yield Rating(reader.user_id, book.book_id, _stars(rng, reader, book), timestamp)


def _stars(rng: Random, reader: Reader, book: Book) -> float:
    """A rating in half stars: 1 to 3.5 without a loved genre, 3.5 to 5 with one, and 4.5 or 5 for a loved author."""
    if not reader.loves(book):
        return _between(rng, 2, 7) / 2
    return _between(rng, 9 if book.author in reader.authors else 7, 10) / 2


def write(library: SyntheticLibrary, folder: Path) -> None:
    """Write `books.csv`, its genres joined by `|`, and `ratings.csv`, its timestamps in seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    books = ([book.book_id, book.title, book.author, "|".join(book.genres), book.year] for book in library.books)
    _write_csv(folder / "books.csv", ["book_id", "title", "author", "genres", "year"], books)
    ratings = ([rating.user_id, rating.book_id, rating.stars, rating.timestamp] for rating in library.ratings)
    _write_csv(folder / "ratings.csv", ["user_id", "book_id", "rating", "timestamp"], ratings)


def _write_csv(path: Path, header: list[str], rows: Iterable[list[Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def main(arguments: Sequence[str]) -> int:
    """Run `python -m recoserve.demo.library FOLDER` with these arguments; returns the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m recoserve.demo.library FOLDER\n")
        return 2
    library = generate()
    write(library, Path(arguments[0]))
    counts = f"{len(library.books)} books, {len(library.readers)} readers, {len(library.ratings)} ratings"
    sys.stdout.write(f"{counts} in {arguments[0]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
