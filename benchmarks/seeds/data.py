"""MovieLens as the models of the seeds take it: rows in place of ids, and one genre for each film."""

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import SystemFailed

USERS, MOVIES, GENRES = 610, 9742, 19  # of ml-latest-small, for code that builds a model without being told
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """External ids in row order, the pairs that were rated as two int64 arrays of rows, and each film's genre, a row of 19.

    `movies_file` is the items file that the exporter reads the genres from, by their names.
    """

    user_ids: list[int]
    movie_ids: list[int]
    user: Rows
    movie: Rows
    genre: Rows
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
        first = {int(row["movieId"]): row["genres"].split("|")[0] for row in csv.DictReader(file)}
    with ratings.open(newline="", encoding="utf-8") as file:
        pairs = np.array([(int(row["userId"]), int(row["movieId"])) for row in csv.DictReader(file)])
    movie_ids, user_ids, names = sorted(first), sorted(set(pairs[:, 0].tolist())), sorted(set(first.values()))
    if (len(user_ids), len(movie_ids), len(names)) != (USERS, MOVIES, GENRES):
        raise SystemFailed(f"{folder} holds another edition than ml-latest-small, whose sizes the models are built for")
    genre = np.array([names.index(first[external]) for external in movie_ids])
    user, movie = np.searchsorted(user_ids, pairs[:, 0]), np.searchsorted(movie_ids, pairs[:, 1])
    return Data(user_ids, movie_ids, user, movie, genre, movies)


def with_negatives(data: Data, seed: int) -> tuple[Rows, Rows, NDArray[np.float32]]:
    """Every rated pair, labelled 1, and as many random ones, labelled 0, shuffled."""
    rng = np.random.default_rng(seed)
    count = len(data.user)
    user = np.concatenate([data.user, rng.integers(len(data.user_ids), size=count)])
    movie = np.concatenate([data.movie, rng.integers(len(data.movie_ids), size=count)])
    label = np.repeat(np.array([1, 0], np.float32), count)
    order = rng.permutation(2 * count)
    return user[order], movie[order], label[order]
