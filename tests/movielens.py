"""Where the MovieLens files are: beside the project, or where the variable MOVIELENS points. They are never part of it."""

import os
from pathlib import Path

FOLDER = Path(os.environ.get("MOVIELENS", Path(__file__).parents[2] / "shared/data/ml-latest-small"))
HERE = (FOLDER / "ratings.csv").is_file()
ABSENT = "the MovieLens files are not here; MOVIELENS=FOLDER says where they are"
