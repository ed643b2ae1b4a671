"""MovieLens as the seeds' models take it: rows in place of ids, and the films' genres."""

import csv
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve_bench.errors import SystemFailed

USERS, MOVIES, GENRES, MARKS = 610, 9742, 19, 19  # of ml-latest-small, which the models are built for without arguments
NONE = "(no genres listed)"


@dataclass(frozen=True)
class Data:
    """External ids in row order; the rated pairs as rows, `user` and `movie`; and the films' genres in two forms.

    `genre` is the row, of 19, of the first genre that a film lists; `marks` float32 [films, 19] has a 1 for each genre that it
    lists. The exporter reads the genres by name, from `movies_file`.
    """

    user_ids: list[int]
    movie_ids: list[int]
    user: Rows
    movie: Rows
    genre: Rows
    marks: Float32Array
    movies_file: Path

    @cached_property
    def row_of(self) -> dict[int, int]:
        """The row of each film by its external id."""
        return {external: row for row, external in enumerate(self.movie_ids)}


def read(folder: Path) -> Data:
    """The data of ml-latest-small; raises SystemFailed where its files are missing or of another edition."""
    ratings, movies = folder / "ratings.csv", folder / "movies.csv"
    if not (ratings.is_file() and movies.is_file()):
        raise SystemFailed(f"{folder} has no ratings.csv and movies.csv: --movielens FOLDER says where ml-latest-small is")
    with movies.open(newline="", encoding="utf-8") as file:
        listed = {int(row["movieId"]): row["genres"].split("|") for row in csv.DictReader(file)}
    with ratings.open(newline="", encoding="utf-8") as file:
        pairs = np.array([(int(row["userId"]), int(row["movieId"])) for row in csv.DictReader(file)])
    movie_ids, user_ids = sorted(listed), sorted(set(pairs[:, 0].tolist()))
    first = sorted({genres[0] for genres in listed.values()})
    every = sorted(set(chain(*listed.values())) - {NONE})
    if (len(user_ids), len(movie_ids), len(first), len(every)) != (USERS, MOVIES, GENRES, MARKS):
        raise SystemFailed(f"{folder} holds another edition than ml-latest-small, whose sizes the models are built for")
    genre = np.array([first.index(listed[external][0]) for external in movie_ids])
    marks = np.array([[name in listed[external] for name in every] for external in movie_ids], np.float32)
    user, movie = np.searchsorted(user_ids, pairs[:, 0]), np.searchsorted(movie_ids, pairs[:, 1])
    return Data(user_ids, movie_ids, user, movie, genre, marks, movies)


def with_negatives(data: Data, seed: int) -> tuple[Rows, Rows, Float32Array]:
    """Users, movies and labels, shuffled: every rated pair, labelled 1, and as many random pairs, labelled 0."""
    rng = np.random.default_rng(seed)
    count = len(data.user)
    user = np.concatenate([data.user, rng.integers(len(data.user_ids), size=count)])
    movie = np.concatenate([data.movie, rng.integers(len(data.movie_ids), size=count)])
    label = np.repeat(np.array([1, 0], np.float32), count)
    order = rng.permutation(2 * count)
    return user[order], movie[order], label[order]


def model_inputs(names: list[str], data: Data, users: Any, movies: Rows) -> dict[str, NDArray[Any]]:
    """The values of a model's inputs, chosen by the inputs' names; `users` is one row or an array of them."""
    values: dict[str, NDArray[Any]] = {
        "user": np.broadcast_to(np.asarray(users), movies.shape).copy(),
        "movie": movies,
        "item": movies,
        "genre": data.genre[movies],
        "genres": data.marks[movies],
    }
    return {name: values[name.removesuffix("_id")] for name in names}
