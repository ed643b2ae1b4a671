"""Files with an answer by reasoning: even users interact with even items, odd users with odd ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

USERS, ITEMS = 12, 20


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models as small as these are trained faster by one thread than by several that wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def even_odd(tmp_path: Path) -> Path:
    """A folder with `ratings.csv`, in which every user u has interacted with 8 of the 10 items of u's own kind, and `items.csv`.

    Ids are row numbers + 100. The id column of the items file is not its first.
    """
    pairs = [(user, (2 * step + user) % ITEMS) for user in range(USERS) for step in range(user, user + 8)]
    ratings = "".join(f"{100 + user},{100 + item},5,{time}\n" for time, (user, item) in enumerate(pairs))
    (tmp_path / "ratings.csv").write_text("userId,itemId,rating,timestamp\n" + ratings)
    kinds = "".join(f"Item {row},{100 + row},{('even', 'odd')[row % 2]}|any\n" for row in range(ITEMS))
    (tmp_path / "items.csv").write_text("title,item_id,kinds\n" + kinds)
    return tmp_path
