"""The seeds in short: two models and one that is refused, exported by the command line in a process of its own, and served."""

import numpy as np
import pytest

from recoserve_bench.errors import SystemFailed
from recoserve_bench.seeds.comparison import by_vectors, compare
from recoserve_bench.seeds.data import GENRES, MARKS, MOVIES, USERS, Data, read
from recoserve_bench.seeds.rows import ROWS, SEEDS, Seed
from recoserve_bench.seeds.run import Task, run
from tests import movielens

FEW = [
    Seed("c", "genre_batch_norm", "keras", ".keras"),
    Seed("d", "Books", "torch", ".pt"),
    Seed("f", "TwoWidthsDot", "torch", ".pt", refused="64 wide, item table 'movie_embedding' 32"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """MovieLens where it is, or else as many users, films and genres, and ratings at random."""
    if movielens.HERE:
        return read(movielens.FOLDER)
    path, rng = tmp_path_factory.mktemp("data") / "movies.csv", np.random.default_rng(0)
    genre = np.arange(MOVIES) % GENRES
    path.write_text("".join(["movieId,genres\n", *(f"{row + 1},{chr(65 + code)}\n" for row, code in enumerate(genre))]))
    ids = list(range(1, USERS + 1)), list(range(1, MOVIES + 1))
    return Data(
        *ids, rng.integers(USERS, size=5000), rng.integers(MOVIES, size=5000), genre, np.zeros((MOVIES, MARKS), np.float32), path
    )


def test_what_is_served_is_the_frameworks_own_top_100_over_all_films(data, tmp_path):
    """A Keras file and a state_dict with genres as a feature; a dot product of two widths is refused with its reason."""
    figures = run(FEW, Task(data, tmp_path, epochs=1, users=8))

    assert [figure["right"] for figure in figures] == [True] * 3, figures
    assert [figure["users"] for figure in figures] == [8, 8, 0]
    assert all("operators per pair" in figure["became"] for figure in figures[:2])
    assert max(figure["difference"] for figure in figures) < 1e-6


def test_every_row_is_there_in_both_frameworks():
    """Rows a to h; tables alone have no framework, and KMR is Keras'."""
    both = {row for row in ROWS if {"keras", "torch"} <= {seed.framework for seed in SEEDS if seed.row == row}}

    assert list("abcdefgh") == ROWS
    assert set("abcdfh") == both
    assert {".keras", ".h5", ".pt", ".pth", ".safetensors", ".onnx", ".npy", ".pt2"} == {seed.file for seed in SEEDS}


class FakeService:
    """A service that gives user 7 these items and scores."""

    def __init__(self, rows, scores):
        self.items = {7: [{"item_id": 10 * row, "score": score} for row, score in zip(rows, scores, strict=True)]}

    def recommend(self, user, k):
        return self.items[user][:k]


@pytest.mark.parametrize(
    ("rows", "scores", "wrong"),
    [
        ([3, 1], [0.9, 0.5], 0),
        ([3, 2], [0.9, 0.5], 0),  # a tie
        ([1, 3], [0.5, 0.9], 1),  # out of order
        ([3, 0], [0.9, 0.1], 1),  # not the best
        ([3, 1], [0.9, 0.6], 1),  # another score
        ([3, 3], [0.9, 0.9], 1),  # twice
        ([3], [0.9], 1),  # too few
    ],
)
def test_a_wrong_ranking_is_noticed(rows, scores, wrong, tmp_path):
    data = Data([7], [0, 10, 20, 30], np.array([0]), np.array([0]), np.zeros(4, np.int64), np.zeros((4, 2), np.float32), tmp_path)

    comparison = compare(FakeService(rows, scores), [np.array([0.1, 0.5, 0.5, 0.9])].__getitem__, data, users=1, k=2)

    assert (1, wrong) == (comparison.users, comparison.wrong)


def test_cosine_is_that_of_the_tables_whatever_their_lengths():
    tables = np.array([[3.0, 4.0]]), np.array([[6.0, 8.0], [-4.0, 3.0]])

    np.testing.assert_allclose(by_vectors(tables, cosine=False)(0), [50, 0], atol=1e-15)
    np.testing.assert_allclose(by_vectors(tables, cosine=True)(0), [1, 0], atol=1e-15)


def test_another_edition_of_the_data_is_refused(tmp_path):
    """The models are built for the sizes of ml-latest-small."""
    with pytest.raises(SystemFailed, match="--movielens"):
        read(tmp_path)

    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,One,Comedy\n")
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,4.0,0\n")
    with pytest.raises(SystemFailed, match="another edition"):
        read(tmp_path)
