"""MovieLens as the models of the seeds take it: rows in place of ids, and one genre for each film."""

import csv
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recoserve_bench.errors import SystemFailed

USERS, MOVIES, GENRES, MARKS = 610, 9742, 19, 19  # of ml-latest-small, for code that builds a model without being told
NONE = "(no genres listed)"
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """External ids in row order, the pairs that were rated as two int64 arrays of rows, and each film's genre, the first
    of those listed, as a row of 19; `marks` float32 [films, 19] has a 1 for each that is listed, of those that are genres.

    `movies_file` is the items file that the exporter reads the genres from, by their names.
    """

    user_ids: list[int]
    movie_ids: list[int]
    user: Rows
    movie: Rows
    genre: Rows
    marks: NDArray[np.float32]
    movies_file: Path

    @cached_property
    def row_of(self) -> dict[int, int]:
        """External id of a film -> its row."""
        return {external: row for row, external in enumerate(self.movie_ids)}


def read(folder: Path) -> Data:
    """ml-latest-small from its two files; raises SystemFailed where they aren't there or are another edition."""
    ratings, movies = folder / "ratings.csv", folder / "movies.csv"
    if not (ratings.is_file() and movies.is_file()):
        raise SystemFailed(f"{folder} has no ratings.csv and movies.csv: --movielens FOLDER says where ml-latest-small is")
    with movies.open(newline="", encoding="utf-8") as file:
        listed = {int(row["movieId"]): row["genres"].split("|") for row in csv.DictReader(file)}
    with ratings.open(newline="", encoding="utf-8") as file:
        pairs = np.array([(int(row["userId"]), int(row["movieId"])) for row in csv.DictReader(file)])
    movie_ids, user_ids = sorted(listed), sorted(set(pairs[:, 0].tolist()))
    first, every = sorted({each[0] for each in listed.values()}), sorted(set(chain(*listed.values())) - {NONE})
    if (len(user_ids), len(movie_ids), len(first), len(every)) != (USERS, MOVIES, GENRES, MARKS):
        raise SystemFailed(f"{folder} holds another edition than ml-latest-small, whose sizes the models are built for")
    genre = np.array([first.index(listed[external][0]) for external in movie_ids])
    marks = np.array([[name in listed[external] for name in every] for external in movie_ids], np.float32)
    user, movie = np.searchsorted(user_ids, pairs[:, 0]), np.searchsorted(movie_ids, pairs[:, 1])
    return Data(user_ids, movie_ids, user, movie, genre, marks, movies)


def with_negatives(data: Data, seed: int) -> tuple[Rows, Rows, NDArray[np.float32]]:
    """Every rated pair, labelled 1, and as many random ones, labelled 0, shuffled."""
    rng = np.random.default_rng(seed)
    count = len(data.user)
    user = np.concatenate([data.user, rng.integers(len(data.user_ids), size=count)])
    movie = np.concatenate([data.movie, rng.integers(len(data.movie_ids), size=count)])
    label = np.repeat(np.array([1, 0], np.float32), count)
    order = rng.permutation(2 * count)
    return user[order], movie[order], label[order]
