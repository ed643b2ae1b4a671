"""A made-up library: books, readers with visible tastes, and what they read. No book and no person in it is real.

The bundle beside this file is made again, from nothing, by

    python -m recoserve.demo.library build/library
    recoserve train --ratings build/library/ratings.csv --items build/library/books.csv \\
        --architecture torch-dot --dim 24 --temperature 0.3 -o service/recoserve/demo/bundle --name library

Every reader loves one or two genres, and two authors of each; most of what a reader reads is of those genres. Only
`Random.random` is drawn from, whose sequence Python keeps from one version to the next, so that a seed gives the same bytes.
"""

import csv
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from recoserve.demo.words import FIRST_NAMES, LAST_NAMES, PLACES, SHELVES, Shelf

SEED = 7
BOOKS, READERS, AUTHORS_PER_GENRE = 300, 200, 5
FEWEST_READ, MOST_READ = 16, 32  # books per reader
LOYALTY = 0.85  # how often a reader picks from a loved genre
FIRST_DAY, LAST_DAY = 1_577_836_800, 1_735_603_200  # 2020-01-01 and 2024-12-31, UTC, in seconds
TITLES = (
    "The {mood} {thing}",
    "The {thing} of {place}",
    "{a} {thing} for {place}",
    "{mood} {thing}",
    "The {mood} {thing} of {place}",
)
PLURAL_TITLES = ("The {mood} {thing}", "{thing} of {place}", "{thing} for {place}", "{mood} {thing}", "{mood} {thing} of {place}")

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Book:
    """One book; `genres` begins with the one that its title speaks of."""

    book_id: int
    title: str
    author: str
    genres: tuple[str, ...]
    year: int
    appeal: float  # how much likelier than others it is to be picked


@dataclass(frozen=True)
class Reader:
    """One reader, and what is loved."""

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
class Library:
    """Books and readers with ids from 1 upward, and who read what."""

    books: tuple[Book, ...]
    readers: tuple[Reader, ...]
    ratings: tuple[Rating, ...]


def generate(seed: int = SEED) -> Library:
    """The library of a seed."""
    draw = Random(seed)
    authors = _authors(draw)
    books = _books(draw, authors)
    readers = tuple(_reader(draw, number, authors) for number in range(1, READERS + 1))
    ratings = tuple(rating for reader in readers for rating in _ratings(draw, reader, books))
    return Library(books, readers, ratings)


def _pick(draw: Random, things: Sequence[Thing]) -> Thing:
    return things[int(draw.random() * len(things))]


def _between(draw: Random, low: int, high: int) -> int:
    return low + int(draw.random() * (high - low + 1))


def _some(draw: Random, things: Sequence[Thing], weights: Sequence[float], count: int) -> list[Thing]:
    """`count` different things, likelier where the weight is larger (Efraimidis & Spirakis, 2006)."""
    keys = [draw.random() ** (1 / weight) for weight in weights]
    best = sorted(range(len(things)), key=keys.__getitem__, reverse=True)
    return [things[place] for place in best[:count]]


def _authors(draw: Random) -> dict[str, list[str]]:
    """Some authors for each genre; nobody writes two genres' books."""
    names = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
    chosen = _some(draw, names, [1.0] * len(names), AUTHORS_PER_GENRE * len(SHELVES))
    return {shelf.genre: chosen[place :: len(SHELVES)] for place, shelf in enumerate(SHELVES)}


def _books(draw: Random, authors: dict[str, list[str]]) -> tuple[Book, ...]:
    books: list[Book] = []
    titles: set[str] = set()
    while len(books) < BOOKS:
        shelf = _pick(draw, SHELVES)
        title = _title(draw, shelf)
        if title in titles:
            continue
        titles.add(title)
        author, year, appeal = _pick(draw, authors[shelf.genre]), _between(draw, 1948, 2024), 0.4 + 1.6 * draw.random() ** 3
        books.append(Book(len(books) + 1, title, author, _genres(draw, shelf), year, appeal))
    return tuple(books)


def _title(draw: Random, shelf: Shelf) -> str:
    forms = PLURAL_TITLES if shelf.genre == "Poetry" else TITLES
    form, mood, thing, place = (_pick(draw, words) for words in (forms, shelf.moods, shelf.things, PLACES))
    return form.format(mood=mood, thing=thing, place=place, a="An" if thing[0] in "AEIOU" else "A")


def _genres(draw: Random, shelf: Shelf) -> tuple[str, ...]:
    """The shelf's genre, often its neighbour, seldom a third."""
    genres = [shelf.genre]
    if draw.random() < 0.45:
        genres.append(shelf.neighbour)
    if draw.random() < 0.1:
        genres.append(_pick(draw, SHELVES).genre)
    return tuple(dict.fromkeys(genres))


def _reader(draw: Random, number: int, authors: dict[str, list[str]]) -> Reader:
    loved = _some(draw, [shelf.genre for shelf in SHELVES], [1.0] * len(SHELVES), _between(draw, 1, 2))
    favourites = (_some(draw, authors[genre], [1.0] * AUTHORS_PER_GENRE, 2) for genre in loved)
    return Reader(number, tuple(loved), frozenset(name for names in favourites for name in names))


def _ratings(draw: Random, reader: Reader, books: Sequence[Book]) -> Iterable[Rating]:
    """What one reader read, in the order of reading."""
    loved = [book for book in books if reader.loves(book)]
    others = [book for book in books if not reader.loves(book)]
    count = _between(draw, FEWEST_READ, MOST_READ)
    kept = min(round(count * LOYALTY), len(loved))
    weights = [book.appeal * (4 if book.author in reader.authors else 1) for book in loved]
    read = _some(draw, loved, weights, kept) + _some(draw, others, [book.appeal for book in others], count - kept)
    read = _some(draw, read, [1.0] * len(read), len(read))
    days = sorted(_between(draw, FIRST_DAY, LAST_DAY) for _ in read)
    for book, day in zip(read, days, strict=True):
        yield Rating(reader.user_id, book.book_id, _stars(draw, reader, book), day)


def _stars(draw: Random, reader: Reader, book: Book) -> float:
    if not reader.loves(book):
        return _between(draw, 2, 7) / 2
    return _between(draw, 9 if book.author in reader.authors else 7, 10) / 2


def write(library: Library, folder: Path) -> None:
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
    """`python -m recoserve.demo.library FOLDER`; the exit code."""
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
