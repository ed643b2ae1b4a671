"""The folder of the MovieLens files, which are no part of the project: beside it, or where the variable MOVIELENS points."""

import os
from pathlib import Path

FOLDER = Path(os.environ.get("MOVIELENS", Path(__file__).parents[2] / "shared/data/ml-latest-small"))
HERE = (FOLDER / "ratings.csv").is_file()
ABSENT = "needs MovieLens: run with MOVIELENS=FOLDER, the unpacked ml-latest-small with its ratings.csv and movies.csv"
